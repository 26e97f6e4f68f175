"""Kubeconfigs for people: what is kept of each, what may be asked for, and the file itself (I3). Pure.

A kubeconfig holds a token of the gateway and no credential of any cluster. What is kept is a Secret that
names it, and never the token: the kubeconfig counts while that is there, and removing it revokes the file.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from edge.iam.accounts import user_label
from edge.iam.tokens import Claims
from edge.iam.types import GROUP
from edge_kube.core import Secret as KubeSecret
from edge_kube.meta import Manifest
from edge_sdk.problem import Invalid, Problem, Violation
from edge_sdk.settings import Duration

SECRET_TYPE: Final = "theriseunion.io/user-kubeconfig"  # noqa: S105
SECRET_PREFIX: Final = "edge-kubeconfig-"  # noqa: S105
EXTENSION: Final = f"kubeconfig.{GROUP}"
TTL_MIN_S: Final = 60.0
NAME_MAX: Final = 63

_ID = re.compile(r"[0-9a-f]{32}")
_ADDRESS = re.compile(r"https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True, slots=True)
class Issued:
    """A kubeconfig that was handed out. claims: of its token; name: what its owner calls it."""

    claims: Claims
    name: str = ""

    def shown(self) -> dict[str, str]:
        """As lists show it: nothing in it lets anybody in."""
        return {
            "id": self.claims.token_id,
            "user": self.claims.user,
            "name": self.name,
            "cluster": self.claims.cluster,
            "issued": _time(self.claims.issued_s),
            "expires": _time(self.claims.expires_s),
        }


def is_id(text: str) -> bool:
    """Whether it can be the id of a kubeconfig: it becomes a part of a name."""
    return _ID.fullmatch(text) is not None


def record_of(issued: Issued, namespace: str) -> Manifest:
    """The Secret that stands for it. It goes with its user, and nobody can prolong it by an edit."""
    claims = issued.claims
    content = {**issued.shown(), "uid": claims.uid, "passwordMark": claims.password_mark}
    content.pop("id")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "immutable": True,
        "metadata": {
            "name": SECRET_PREFIX + claims.token_id,
            "namespace": namespace,
            "labels": user_label(claims.user),
            "ownerReferences": [
                {"apiVersion": f"{GROUP}/v1alpha1", "kind": "User", "name": claims.user, "uid": claims.uid}
            ],
        },
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in content.items()},
    }


def read_record(secret: KubeSecret) -> Issued | None:
    """What a Secret says; None when it is no record of a kubeconfig, or none that can be understood."""
    token_id = secret.metadata.name.removeprefix(SECRET_PREFIX)
    if secret.type != SECRET_TYPE or not is_id(token_id) or token_id == secret.metadata.name:
        return None
    try:
        content = {key: base64.b64decode(text).decode() for key, text in dict(secret.data).items()}
        claims = Claims(
            user=content["user"],
            uid=content["uid"],
            password_mark=content["passwordMark"],
            token_id=token_id,
            issued_s=datetime.fromisoformat(content["issued"]).timestamp(),
            expires_s=datetime.fromisoformat(content["expires"]).timestamp(),
            cluster=content["cluster"],
        )
    except (ValueError, KeyError):
        return None
    return Issued(claims, content.get("name", ""))


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST me/kubeconfigs. ttl: "24h"; server: where the user reaches the gateway, over https."""

    cluster: str = "host"
    ttl: str | int | float = ""
    name: str = ""
    server: str = ""


def read_wanted(body: bytes | None) -> Wanted:
    """Raises Problem (400) for what is no such object, Invalid (422) for what cannot be in a kubeconfig."""
    try:
        wanted = msgspec.json.decode(body or b"{}", type=Wanted)
    except msgspec.MsgspecError as error:
        raise Problem(
            "bad-body",
            what="The body was not understood",
            why=str(error),
            do='send {"cluster": "host", "ttl": "24h", "name": "laptop"}; each field may be left out',
        ) from None
    found: list[Violation] = []
    if len(wanted.name) > NAME_MAX or not wanted.name.isprintable():
        accepted = f"up to {NAME_MAX} printable characters"
        found.append(Violation("name", wanted.name[:80], "it is shown in lists", accepted))
    if wanted.server and (len(wanted.server) > 300 or not _ADDRESS.fullmatch(wanted.server)):
        why = "kubectl sends a token over TLS only"
        found.append(Violation("server", wanted.server[:300], why, "https://HOST[:PORT][/PATH]"))
    if found:
        raise _refused(found)
    return wanted


def lifetime_s(wanted: Wanted, *, default_s: float, max_s: float) -> float:
    """Seconds that the kubeconfig is good for. Raises Invalid (422)."""
    accepted = f"a duration from {_span(TTL_MIN_S)} to {_span(max_s)}, such as 8h"
    if wanted.ttl == "":
        return min(default_s, max_s)
    try:
        asked_s = Duration.of(wanted.ttl).s
    except ValueError as error:
        raise _refused([Violation("ttl", wanted.ttl, str(error), accepted)]) from None
    if not TTL_MIN_S <= asked_s <= max_s:
        why = "that is shorter than kubectl needs" if asked_s < TTL_MIN_S else "that is too long"
        raise _refused([Violation("ttl", wanted.ttl, why, accepted)])
    return asked_s


@dataclass(frozen=True, slots=True)
class Entrance:
    """How the gateway is reached. ca: PEM, b"" for what the client's machine trusts anyway.

    tls_name: name in the gateway's certificate, where it is not the host of the address.
    """

    server: str
    ca: bytes = b""
    tls_name: str = ""


def kubeconfig(issued: Issued, token: str, entrance: Entrance) -> dict[str, Any]:
    """The file, as a document. The extension tells tools which one it is and when it ends."""
    claims = issued.claims
    cluster, user = f"edge-{claims.cluster}", f"{claims.user}@edge-{claims.cluster}"
    path = "" if claims.cluster == "host" else f"/clusters/{claims.cluster}"
    reached: dict[str, Any] = {"server": entrance.server.rstrip("/") + path}
    if entrance.ca:
        reached["certificate-authority-data"] = base64.b64encode(entrance.ca).decode()
    if entrance.tls_name:
        reached["tls-server-name"] = entrance.tls_name
    about = {"name": EXTENSION, "extension": issued.shown()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": reached}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": user, "context": {"cluster": cluster, "user": user, "extensions": [about]}}],
        "current-context": user,
    }


def _refused(found: Sequence[Violation]) -> Invalid:
    return Invalid("invalid-kubeconfig", tuple(found), what="No kubeconfig was made")


def _span(seconds: float) -> str:
    units: Mapping[str, float] = {"d": 86400, "h": 3600, "m": 60}
    return next(
        (f"{seconds / size:g}{unit}" for unit, size in units.items() if seconds % size == 0), f"{seconds:g}s"
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
