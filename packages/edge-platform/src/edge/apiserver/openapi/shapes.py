"""Shapes of answers and bodies that no type of a room stands for: sent by routes, told by the document."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from edge.audit.chain import Broken
from edge.audit.query import Entry
from edge.audit.verdict import Verdict
from edge.iam.questions import ScopeAccess, ShownScope
from edge.iam.review import Finding


class ListMeta(Struct, rename="camel", omit_defaults=True):
    """continue: token of the next page, absent on the last. remainingItemCount: how many are behind it."""

    resource_version: str = ""
    continue_: str = field(default="", name="continue")
    remaining_item_count: int = 0


class StatusCause(Struct, rename="camel", omit_defaults=True):
    """One thing that is wrong with an object. at: path of the field, as the user writes it."""

    reason: str = ""
    message: str = ""
    at: str = field(default="", name="field")


class StatusDetails(Struct, rename="camel", omit_defaults=True):
    """code: stable, in kebab-case. what happened, why, and what to do. causes: of a refused object."""

    code: str = ""
    what: str = ""
    why: str = ""
    do: str = ""
    causes: list[StatusCause] = []
    retry_after_seconds: int = 0
    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""


class NextStep(Struct):
    """What may be done now. kind: retry (value: after how many seconds), command, link or ask."""

    kind: str
    value: str
    label: str


class EdgeError(Struct, rename="camel", omit_defaults=True):
    """What programs go by: the code in CamelCase, and the id under which the gateway's log tells more.

    params: what the code is about, for whoever words it anew: texts, and lists of texts.
    """

    code: str = ""
    params: dict[str, Any] = {}
    next: list[NextStep] = []
    request_id: str = ""
    retry_after_seconds: int = 0


class Status(Struct, rename="camel", omit_defaults=True):
    """A Kubernetes Status: what went wrong, or that it went well. edge: where the gateway itself answers."""

    kind: str = "Status"
    api_version: str = "v1"
    metadata: dict[str, Any] = {}
    status: str = ""
    message: str = ""
    reason: str = ""
    details: StatusDetails | UnsetType = UNSET
    code: int = 0
    edge: EdgeError | UnsetType = UNSET


class Me(Struct, rename="camel"):
    """Who is signed in. mustChangePassword: until then the token only reads. Times in RFC 3339."""

    user: str
    display_name: str
    lang: str
    groups: tuple[str, ...]
    must_change_password: bool
    session_expires: str
    server_time: str


class MyAccess(Struct, rename="camel"):
    """Rights at each scope that was asked for; good for ttlSeconds."""

    items: list[ScopeAccess]
    ttl_seconds: int


class ScopePage(Struct):
    """cursor: of the next page, empty on the last."""

    items: list[ShownScope]
    cursor: str
    total: int


class FindingPage(Struct):
    """cursor: of the next page, empty on the last."""

    items: list[Finding]
    cursor: str
    total: int


class ShownKubeconfig(Struct):
    """A kubeconfig in force, without its token. Times in RFC 3339."""

    id: str
    user: str
    name: str
    cluster: str
    issued: str
    expires: str


class KubeconfigList(Struct, rename="camel"):
    kind: str
    api_version: str
    items: list[ShownKubeconfig]


class Kubeconfig(Struct, rename="camel"):
    """A file for kubectl, as kubectl reads it."""

    api_version: str
    kind: str
    clusters: list[dict[str, Any]]
    users: list[dict[str, Any]]
    contexts: list[dict[str, Any]]


class AuditPage(Struct):
    """cursor: of the next page, empty on the last."""

    kind: str
    items: list[Entry]
    cursor: str


class AuditVerification(Struct):
    """whole: nothing was removed, altered or moved. unsigned: records after the last signature."""

    kind: str
    whole: bool
    chains: int
    segments: int
    records: int
    unsigned: int
    retired: int
    broken: Broken | None


class AuditVerificationList(Struct):
    """items: what the last verification of each store of records found."""

    kind: str
    items: list[Verdict]


class TokenRequest(Struct, omit_defaults=True):
    """RFC 6749. client_id and client_secret may come by Basic authentication instead.

    grant_type: password, refresh_token, authorization_code or client_credentials.
    """

    grant_type: str
    client_id: str = ""
    client_secret: str = ""
    username: str = ""
    password: str = ""
    refresh_token: str = ""
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    scope: str = ""


class Token(Struct, omit_defaults=True):
    """RFC 6749 §5.1. expires_in: seconds. id_token: where the scope has openid.

    A console that asks with X-Edge-Session: cookie gets the tokens as cookies, and here their life alone.
    """

    expires_in: int
    access_token: str = ""
    token_type: str = ""
    scope: str = ""
    refresh_token: str = ""
    id_token: str = ""


class OAuthRefusal(Struct, omit_defaults=True):
    """RFC 6749 §5.2."""

    error: str
    error_description: str = ""


class TokenQuestion(Struct, omit_defaults=True):
    """RFC 7009, RFC 7662: one token, and which client asks (or by Basic authentication)."""

    token: str
    token_type_hint: str = ""
    client_id: str = ""
    client_secret: str = ""


class Introspection(Struct, omit_defaults=True):
    """RFC 7662. Of a token that is none of ours, or is over: active alone. cluster: of a kubeconfig."""

    active: bool
    token_type: str = ""
    client_id: str = ""
    username: str = ""
    sub: str = ""
    exp: int = 0
    scope: str = ""
    iss: str = ""
    sid: str = ""
    aud: str = ""
    cluster: str = ""


class JwkSet(Struct):
    """RFC 7517: public keys; none where a secret signs."""

    keys: list[dict[str, Any]]


class UserInfo(Struct, omit_defaults=True):
    """OpenID Connect core §5.3."""

    sub: str
    groups: list[str]
    preferred_username: str = ""
    name: str = ""
    email: str = ""


class KubernetesVersion(Struct, rename="camel"):
    git_version: str


class Version(Struct, rename="camel"):
    """version: of this package. commit, build: what the image was made from, where it says so."""

    version: str
    git_version: str
    commit: str
    build: str
    python: str
    kubernetes: KubernetesVersion
