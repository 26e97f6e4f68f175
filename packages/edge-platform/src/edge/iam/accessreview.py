"""A SubjectAccessReview as a Kubernetes API server asks it, and what the index says to it (I10). Pure.

The API server is the one that authenticated the caller, so the groups that it states count. The name counts
for itself only where the platform knows it: a deleted or disabled user has nothing, however their certificate
still reads. The same question gets the same answer here as at the gateway.

Shapes: authorization.k8s.io/v1. Source: design authorization-and-gateway §3, §7.1.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from edge.iam.accounts import groups_behind
from edge.iam.explain import Question, in_words, nearest
from edge.iam.index import URL_SCOPE, Index, Who
from edge.iam.patterns import path_of
from edge.iam.scope import HOST, HOST_SCOPE, PLATFORM, scope_text
from edge_sdk.scopes import IAM_GROUP, PLATFORM_GROUP, SCOPE_GROUP

API_VERSION: Final = "authorization.k8s.io/v1"
KIND: Final = "SubjectAccessReview"
SESSION_EXTRA: Final = "iam.theriseunion.io/sid"
"""Extra field that only a token of our own issuer carries: then the user is ours, and so are their groups."""
RUNS: Final = frozenset({"exec", "attach", "portforward", "proxy"})
"""Subresources that run something: `create` is needed whatever the method (kubernetes/kubernetes 78741)."""

_ACCOUNT: Final = "system:serviceaccount:"
_ANONYMOUS_USER: Final = "system:anonymous"
_SCOPES: Final[Mapping[tuple[str, str], str]] = {
    (SCOPE_GROUP, "clusters"): "c",
    (SCOPE_GROUP, "workspaces"): "w",
    (SCOPE_GROUP, "nodegroups"): "g",
    ("", "namespaces"): "n",
    ("", "nodes"): "d",
    ("metrics.k8s.io", "nodes"): "d",
}
_MOVABLE: Final = {"w": "workspace", "g": "nodegroup"}


class ResourceAttributes(Struct):
    """name "": the request names no object. namespace "": the whole cluster."""

    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    version: str = ""


class PathAttributes(Struct):
    verb: str = ""
    path: str = ""


class ReviewSpec(Struct, rename="camel"):
    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: PathAttributes | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class Review(Struct, rename="camel"):
    spec: ReviewSpec
    api_version: str = API_VERSION
    kind: str = KIND


class Verdict(NamedTuple):
    """allowed False is "no opinion": whoever is asked next may still allow it."""

    allowed: bool
    reason: str


def caller_of(index: Index, spec: ReviewSpec, known: Callable[[str], bool]) -> Who | None:
    """Who asks, to the index. known: whether a User object has this name; None: one that may not act."""
    name, groups = spec.user, groups_behind(spec.groups)
    if name in index.users:
        own = index.users[name] if SESSION_EXTRA in spec.extra else ()
        return (name, groups + own)
    if name.startswith(_ACCOUNT) or name == _ANONYMOUS_USER:
        return (name, groups)
    return None if known(name) else ("", groups)


def check(asked: Review) -> None:
    """Raises ValueError for what is no question."""
    spec = asked.spec
    if asked.api_version != API_VERSION or asked.kind != KIND:
        raise ValueError(f"it is a {asked.kind} of {asked.api_version}"[:200])
    if (spec.resource_attributes is None) is (spec.non_resource_attributes is None):
        raise ValueError("it has to have resourceAttributes or nonResourceAttributes, and not both")


def review(index: Index, who: Who | None, spec: ReviewSpec) -> Verdict:
    """Whether the index allows it, by which binding and where. The question is about the host cluster."""
    if who is None:
        return Verdict(allowed=False, reason=f'the user "{spec.user}" may not act')
    if spec.resource_attributes is not None:
        return _on_resource(index, who, spec.resource_attributes)
    return _on_path(index, who, spec.non_resource_attributes or PathAttributes())


def _on_path(index: Index, who: Who, about: PathAttributes) -> Verdict:
    if not index.check_url(who, about.verb, about.path):
        return Verdict(allowed=False, reason=_denied(PLATFORM))
    return Verdict(True, _granted(index, who, URL_SCOPE, Question(about.verb, path=about.path)))


def _on_resource(index: Index, who: Who, about: ResourceAttributes) -> Verdict:
    scopes = [scope for scope in (scope_of(index, about), _in_pattern(index, about)) if scope is not None]
    if not scopes:
        return Verdict(allowed=False, reason="the request names no scope that the platform knows")
    verbs, resource = (about.verb,), about.resource
    if about.subresource:
        resource = f"{resource}/{about.subresource}"
        if about.subresource in RUNS and about.verb != "create":
            verbs = ("create", about.verb)
        elif resource == "users/password" and about.group == IAM_GROUP and about.name != _name(who):
            verbs, resource = ("update",), "users"
    for scope in scopes:
        if all(index.check(who, scope, verb, about.group, resource, about.name) for verb in verbs):
            asked = Question(verbs[-1], about.group, resource, about.name)
            return Verdict(True, _granted(index, who, scope, asked))
    return Verdict(allowed=False, reason=_denied(scopes[0]))


def _in_pattern(index: Index, about: ResourceAttributes) -> str | None:
    """The scope that a ScopePattern names for the request; what held without it holds still (I9)."""
    registered = index.scopes.registered
    if not registered.about(about.group, about.resource):
        return None
    root = ("apis", about.group) if about.group else ("api",)
    itself = (about.group, about.resource) == ("", "namespaces")  # an API server reads its path as in it, too
    inside = ("namespaces", about.namespace) if about.namespace and not itself else ()
    tail = [one for one in (about.resource, about.name, about.subresource) if one]
    path = path_of("", (*root, about.version, *inside, *tail))
    return registered.scope(about.group, about.resource, path)


def scope_of(index: Index, about: ResourceAttributes) -> str | None:
    """The key of the narrowest scope that holds the object, as at the gateway (§3); None: it is no name."""
    if about.namespace:
        return None if "/" in about.namespace else f"n/{HOST}/{about.namespace}"
    name, letter = about.name, _SCOPES.get((about.group, about.resource))
    if name and letter and not (letter == "d" and about.subresource == "proxy"):
        if "/" in name:
            return None
        if letter == "c":
            return f"c/{name}"
        kind = _MOVABLE.get(letter)
        home = HOST if kind is None else index.scopes.homes.get((kind, name), HOST)
        return f"{letter}/{home}/{name}"
    return PLATFORM if about.group.endswith(f".{PLATFORM_GROUP}") else HOST_SCOPE


def _granted(index: Index, who: Who, scope: str, question: Question) -> str:
    """The nearest grant that allows it, in words."""
    grant = nearest(index, who, scope, question)
    if grant is None:
        raise AssertionError("what the index allows, a grant allows")
    return in_words(grant)


def _denied(scope: str) -> str:
    return f"no IAMRoleBinding allows it at {scope_text(scope)} or above"


def _name(who: Who) -> str:
    return who[0] if isinstance(who, tuple) else who
