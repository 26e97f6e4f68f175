"""What a request is about: the path is decoded once, and only what was decoded is ever forwarded. Pure.

A path that two programs could read in two ways is refused: encoded slashes, dots, percent signs and control
bytes, doubled slashes. So the object that is checked is the object that is reached (CVE-2019-11247 class).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from edge_sdk.access import Action
from edge_sdk.problem import Missing, Problem
from edge_sdk.scopes import SHORT_GROUPS, TENANT_GROUPS

TENANT_RESOURCES: Final[Mapping[str, tuple[str, str]]] = {
    "clusters": ("scope.theriseunion.io", "v1alpha1"),
    "workspaces": ("scope.theriseunion.io", "v1alpha1"),
    "nodegroups": ("scope.theriseunion.io", "v1alpha1"),
    "namespaces": ("", "v1"),
    "nodes": ("", "v1"),
}
BASES: Final = ("oapis", "kapis")
UNDER_BASE: Final = frozenset(
    {
        *("oauth", "oapis", "kapis", "api", "apis", "clusters", "openapi", ".well-known"),
        *("healthz", "livez", "readyz", "health"),
    }
)
UPGRADED: Final = frozenset({"exec", "attach", "portforward", "proxy"})
LONG_RUNNING: Final = frozenset({*UPGRADED, "log"})
VERBS: Final[Mapping[str, str]] = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "OPTIONS": "get",
}
PARAMETERS_MAX: Final = 2000
"""Each word of a command that runs in a pod is one."""
_KEEP = "-._~!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class Target:
    """A path after reading: decoded segments without slashes, and the query as pairs in their order."""

    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    trailing_slash: bool = False

    def first(self, key: str) -> str:
        return next((value for name, value in self.query if name == key), "")

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.query if name == key]

    def flag(self, key: str) -> bool:
        """Whether a boolean parameter is on, as Kubernetes reads it: the first counts, if not 0 or false."""
        first = next((value for name, value in self.query if name == key), "0")
        return first.lower() not in ("0", "false")

    def under(self, count: int) -> "Target":
        """The same target without its first `count` segments."""
        return Target(self.segments[count:], self.query, self.trailing_slash)

    def rebuilt(self) -> str:
        """Path and query for the upstream, encoded by us."""
        path = "/" + "/".join(quote(segment, safe=_KEEP) for segment in self.segments)
        if self.trailing_slash and self.segments:
            path += "/"
        return f"{path}?{urlencode(self.query)}" if self.query else path


def read_target(raw: str) -> Target:
    """Path and query as they came in the request line. Raises Problem (400) for what is ambiguous."""
    path, _, query = raw.partition("#")[0].partition("?")
    if not path.startswith("/"):
        raise _bad_path("it does not begin with a slash")
    parts = path[1:].split("/")
    trailing = len(parts) > 1 and parts[-1] == ""
    if trailing or parts == [""]:
        parts.pop()
    segments = tuple(_segment(part) for part in parts)
    while len(segments) > 1 and segments[0] in BASES and segments[1] in UNDER_BASE:
        segments = segments[1:]  # a base address that ends in /kapis or /oapis (G13)
    return Target(segments, _pairs(query), trailing)


def _segment(part: str) -> str:
    if not part:
        raise _bad_path("it has an empty segment (two slashes in a row)")
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise _bad_path("it is not UTF-8") from None
    if text in (".", "..") or text.split(";", 1)[0] in (".", ".."):
        raise _bad_path("it has a segment of dots")
    if any(sign in text for sign in "/\\%") or any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise _bad_path("it has an encoded slash, backslash, percent sign or control byte")
    return text


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX))
    except ValueError:
        raise Problem(
            "bad-query",
            what="The query of the request was not understood",
            why=f"it is not UTF-8, or has more than {PARAMETERS_MAX} parameters",
            do="encode it with percent signs as UTF-8",
        ) from None


def _bad_path(why: str) -> Problem:
    return Problem(
        "bad-path",
        what="The path of the request was not understood",
        why=why,
        do="send the plain path, each segment encoded once",
    )


@dataclass(frozen=True, slots=True)
class Resource:
    """Kubernetes attributes of a request. group "" is the core group; cluster "" is the host."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()
    watch_path: bool = False


def read_resource(segments: Sequence[str], *, core: bool) -> Resource | None:
    """Attributes of what follows /api (core) or /apis; None for discovery, which names no resource."""
    have = list(segments)
    if len(have) < (2 if core else 3):
        return None
    group = "" if core else have.pop(0)
    version = have.pop(0)
    watch_path = have[0] == "watch" and len(have) > 1
    if watch_path:
        have.pop(0)
    namespace = ""
    # /namespaces/NS/<resource>… is namespaced; /namespaces/NS and its subresources are the namespace itself
    if have[0] == "namespaces" and len(have) > 2 and have[2] not in ("status", "finalize"):
        namespace, have = have[1], have[2:]
    resource, *tail = have
    name = tail[0] if tail else ""
    sub = tail[1] if len(tail) > 1 else ""
    return Resource(group, version, resource, namespace, name, sub, tuple(tail[2:]), watch_path)


def full_group(resource: Resource) -> Resource:
    """Short groups spelled out (G11): iam → iam.theriseunion.io, tenant → the group the resource lives in."""
    if resource.group in TENANT_GROUPS:
        home = TENANT_RESOURCES.get(resource.resource)
        if home is None:
            raise Missing(
                "unknown-resource",
                what=f'There is no resource "{resource.resource}" in the group tenant',
                do=f"ask for one of {', '.join(sorted(TENANT_RESOURCES))}",
            )
        group, version = home
    elif resource.group == "core":
        group, version = "", resource.version
    else:
        group, version = SHORT_GROUPS.get(resource.group, resource.group), resource.version
    return Resource(
        group,
        version,
        resource.resource,
        resource.namespace,
        resource.name,
        resource.subresource,
        resource.rest,
        resource.watch_path,
    )


def native_segments(resource: Resource) -> tuple[str, ...]:
    """The same resource as a path of the Kubernetes API."""
    root = ("api", resource.version) if not resource.group else ("apis", resource.group, resource.version)
    scope = ("namespaces", resource.namespace) if resource.namespace else ()
    tail = tuple(part for part in (resource.name, resource.subresource) if part)
    return (*root, *scope, resource.resource, *tail, *resource.rest)


def verb_of(method: str, resource: Resource, target: Target) -> str:
    """get, list, watch, create, update, patch, delete or deletecollection."""
    verb = VERBS[method]
    if verb == "get" and _is_watch(resource, target):
        return "watch"
    if verb == "get" and not resource.name:
        return "list"
    if verb == "delete" and not resource.name:
        return "deletecollection"
    if resource.subresource in UPGRADED:
        return "create"  # `get` must not be enough to run a command (kubernetes/kubernetes 78741)
    return verb


def is_stream(resource: Resource | None, target: Target) -> bool:
    """Whether the answer has no natural end: such a request has no time-out (G12)."""
    return resource is not None and (_is_watch(resource, target) or resource.subresource in LONG_RUNNING)


def _is_watch(resource: Resource, target: Target) -> bool:
    """What Kubernetes answers with events: a named object that is read with ?watch comes as it is."""
    return resource.watch_path or (not resource.name and target.flag("watch"))


def begins_at_once(resource: Resource | None, target: Target) -> bool:
    """Whether the head of a stream comes at once. That of a followed log comes with its first line, which a
    quiet container may write tomorrow, and what is behind a proxy answers when it likes."""
    if resource is None or resource.subresource in UPGRADED:
        return False
    return resource.subresource != "log" or not target.flag("follow")


def action_of(method: str, resource: Resource, target: Target, cluster: str = "") -> Action:
    """The question for the permission engine, with the narrowest scope that holds the object.

    cluster "": the host. The name of the cluster is always part of the scope: what is called the same in
    another cluster is something else.
    """
    verb = verb_of(method, resource, target)
    return action_for(verb, resource, cluster, _only_name(target) if verb in ("list", "watch") else "")


def action_for(verb: str, resource: Resource, cluster: str, only: str = "") -> Action:
    """only: the one name that a list is limited to."""
    return Action(
        verb=verb,
        group=resource.group,
        resource=resource.resource,
        subresource=resource.subresource,
        namespace=resource.namespace,
        name=resource.name or only,
        scope=_scope_of(resource, cluster),
    )


def _scope_of(resource: Resource, cluster: str) -> str:
    kind = _SCOPES.get((resource.group, resource.resource), "")
    above = f"cluster/{cluster}/" if cluster else ""
    if resource.namespace:
        return f"{above}namespace/{resource.namespace}"
    if resource.name and kind in PLACES and not _reaches_the_kubelet(resource):
        return f"{above}{kind}/{resource.name}"
    if cluster:
        return f"cluster/{cluster}"
    if resource.name and kind and kind not in PLACES:
        return f"{kind}/{resource.name}"
    return "platform" if resource.group.endswith(OWN_SUFFIX) else "cluster/host"


def _reaches_the_kubelet(resource: Resource) -> bool:
    """A node's proxy runs commands in every pod there: a right at one node or group must not give it."""
    return (resource.resource, resource.subresource) == ("nodes", "proxy")


def also_needed(method: str, action: Action) -> Action | None:
    """Who runs something by GET needs `get` beside `create` (kubernetes/kubernetes 134577)."""
    if method in ("GET", "HEAD") and action.subresource in UPGRADED:
        return replace(action, verb="get")
    return None


def _only_name(target: Target) -> str:
    """The one name that a list is limited to, as Kubernetes reads it: rules with names then count."""
    key, sign, name = target.first("fieldSelector").partition("=")
    return name.removeprefix("=") if sign and key == "metadata.name" and "," not in name else ""


def needs_proof(method: str, target: Target) -> bool:
    """Whether the request changes something, or gives a way to: rights must be known to be new for it."""
    return method not in ("GET", "HEAD", "OPTIONS") or not UPGRADED.isdisjoint(target.segments)


OWN_SUFFIX: Final = ".theriseunion.io"
PLACES: Final = ("namespace", "node")
"""Scopes that every cluster has; the others have their objects on the host."""
_SCOPES: Final[Mapping[tuple[str, str], str]] = {
    ("scope.theriseunion.io", "clusters"): "cluster",
    ("scope.theriseunion.io", "workspaces"): "workspace",
    ("scope.theriseunion.io", "nodegroups"): "nodegroup",
    ("", "namespaces"): "namespace",
    ("", "nodes"): "node",
    ("metrics.k8s.io", "nodes"): "node",
}
