"""The rules of a role as Kubernetes RBAC can say them, and what it cannot. Pure.

RBAC knows "everywhere in a cluster" and "in one namespace"; our other scopes are said with names. What would
reach further than the engine allows is left out, so native rights are never wider than ours.

| Place | Kept | Left out |
|---|---|---|
| everywhere | all rules, paths too (platform) | – |
| host cluster | the groups of Kubernetes itself | the platform's own groups: those belong to the platform |
| namespace | namespaced resources, and the namespace's own object | cluster-scoped resources |
| nodes | nodes by name | everything else; nodes/proxy, which reaches into every pod of the node |
| own object | the scope's object on the host, by name | everything else |

Source: I3; design §7.2.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from edge.iam.rules import url_path, url_verb
from edge.iam.types import PolicyRule
from edge.iam.virtual import Pair, counterparts, native_verbs
from edge_kube.core import RbacRule
from edge_sdk.scopes import APP_GROUP, IAM_GROUP, PLATFORM_GROUP, SCOPE_GROUP

ROLE_BYTES_MAX: Final = 900_000
"""An object larger than 1.5 MB is refused by etcd; a role this long is left out and reported."""

# fmt: off
_CLUSTER_SCOPED: Final = {
    "": "nodes persistentvolumes componentstatuses",
    "admissionregistration.k8s.io": "mutatingwebhookconfigurations validatingwebhookconfigurations "
        "validatingadmissionpolicies validatingadmissionpolicybindings",
    "apiextensions.k8s.io": "customresourcedefinitions",
    "apiregistration.k8s.io": "apiservices",
    "authentication.k8s.io": "tokenreviews selfsubjectreviews",
    "authorization.k8s.io": "subjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews",
    "certificates.k8s.io": "certificatesigningrequests clustertrustbundles",
    "flowcontrol.apiserver.k8s.io": "flowschemas prioritylevelconfigurations",
    "metrics.k8s.io": "nodes",
    "networking.k8s.io": "ingressclasses ipaddresses servicecidrs",
    "node.k8s.io": "runtimeclasses",
    "rbac.authorization.k8s.io": "clusterroles clusterrolebindings",
    "resource.k8s.io": "deviceclasses resourceslices",
    "scheduling.k8s.io": "priorityclasses",
    "storage.k8s.io": "storageclasses volumeattachments csidrivers csinodes volumeattributesclasses",
    SCOPE_GROUP: "clusters workspaces nodegroups",
    IAM_GROUP: "users iamroles iamrolebindings roletemplates loginrecords categories",
    APP_GROUP: "appcategories applications applicationversions",
}
# fmt: on
CLUSTER_SCOPED: Final = {(group, name) for group, names in _CLUSTER_SCOPED.items() for name in names.split()}
KUBERNETES_GROUPS: Final = tuple(
    sorted(
        {group for group in _CLUSTER_SCOPED if not group.endswith(PLATFORM_GROUP)}
        | {
            "apps",
            "autoscaling",
            "batch",
            "coordination.k8s.io",
            "discovery.k8s.io",
            "events.k8s.io",
            "policy",
        }
    )
)
_NODE_PARTS: Final = ("", "configz", "healthz", "log", "metrics", "pods", "spec", "stats", "status")
_OBJECT_PARTS: Final = ("", "status")


class Native(NamedTuple):
    """rules: sorted, so that equal rights are equal values. left_out: what RBAC cannot say here, as text."""

    rules: tuple[RbacRule, ...]
    left_out: tuple[str, ...] = ()


class _Part(NamedTuple):
    """A piece of a rule about one resource; names () is every name."""

    pair: Pair
    verbs: tuple[str, ...]
    names: tuple[str, ...]


Narrow = Callable[[str, str], Sequence[Pair]]
"""(group, resource) of a rule → what it may say natively in a place; nothing: it is left out there."""


def everywhere(rules: Iterable[PolicyRule], *, urls: bool) -> Native:
    """For a binding that holds in a whole cluster. urls: paths too; they hold at the platform only."""
    rules = tuple(rules)
    parts, left_out = _narrowed(rules, lambda group, resource: ((group, resource),))
    paths, refused = _urls(rules) if urls else ((), ())
    return _native(parts, paths, (*left_out, *refused))


def in_host_cluster(rules: Iterable[PolicyRule]) -> Native:
    """For the cluster that the platform runs in: its own objects are not the cluster's (§3 of the design)."""
    return _native(*_in_order(_narrowed(rules, _of_kubernetes)))


def in_namespace(rules: Iterable[PolicyRule]) -> Native:
    return _native(*_in_order(_narrowed(rules, _namespaced)))


def on_nodes(rules: Iterable[PolicyRule], names: Iterable[str]) -> Native:
    """names: of the nodes; none: nothing."""
    return _by_name(rules, ("", "nodes"), _NODE_PARTS, names)


def on_own_objects(rules: Iterable[PolicyRule], plural: str, names: Iterable[str]) -> Native:
    """names: objects of the platform's scope kinds (`clusters`, `workspaces`, `nodegroups`)."""
    return _by_name(rules, (SCOPE_GROUP, plural), _OBJECT_PARTS, names)


def only_urls(rules: Iterable[PolicyRule]) -> Native:
    """For everyone, signed in or not: paths, and no resource."""
    rules = tuple(rules)
    paths, refused = _urls(rules)
    left_out = {_say(pair) for rule in rules for pair in _pairs(rule)}
    return _native((), paths, (*sorted(left_out), *refused))


@lru_cache(maxsize=256)  # the roles of a thousand workspaces have the same rules
def left_out(rules: tuple[PolicyRule, ...], scope_type: str, *, on_host: bool) -> tuple[str, ...]:
    """What of a role native RBAC does not say at a scope of this type, as text."""
    match scope_type:
        case "platform":
            return everywhere(rules, urls=True).left_out
        case "cluster":
            return (in_host_cluster(rules) if on_host else everywhere(rules, urls=False)).left_out
        case "workspace" | "namespace":
            return in_namespace(rules).left_out
        case "nodegroup" | "node":
            return ()  # named nodes are all that such a scope holds
        case _:
            return tuple(sorted({_say(pair) for rule in rules for pair in _pairs(rule)}))


def digest(rules: tuple[RbacRule, ...]) -> str:
    """16 hex digits that equal rules have in common."""
    return hashlib.sha256(msgspec.json.encode(rules)).hexdigest()[:16]


def _narrowed(rules: Iterable[PolicyRule], narrow: Narrow) -> tuple[list[_Part], tuple[str, ...]]:
    parts: list[_Part] = []
    left_out: set[str] = set()
    for rule in rules:
        if rule.resource_names and not (names := _names(rule)):
            continue
        names = _names(rule)
        for pair, verbs in _meant(rule):
            kept = narrow(*pair)
            parts += [_Part(one, verbs, names) for one in kept]
            if pair not in kept:
                left_out.add(_say(pair))
    return parts, tuple(sorted(left_out))


def _by_name(
    rules: Iterable[PolicyRule], target: Pair, subresources: Sequence[str], names: Iterable[str]
) -> Native:
    there = set(names)
    parts: list[_Part] = []
    for rule in rules:
        named = there & set(rule.resource_names) if rule.resource_names else there
        if named:
            parts += [
                _Part(one, verbs, tuple(sorted(named)))
                for pair, verbs in _meant(rule)
                for one in _about(pair, target, subresources)
            ]
    return _native(parts, ())


def _about(pair: Pair, target: Pair, subresources: Sequence[str]) -> Iterator[Pair]:
    """The resources of `target` that a rule's pair covers; what is proxied is not the object's own."""
    (group, resource), (wanted, plural) = pair, target
    if group not in (wanted, "*"):
        return
    parent, _, child = resource.partition("/")
    if resource == "*":
        yield from ((wanted, f"{plural}/{sub}" if sub else plural) for sub in subresources)
    elif parent in (plural, "*") and child != "proxy" and (child or parent == plural):
        yield wanted, f"{plural}/{child}" if child else plural


def _of_kubernetes(group: str, resource: str) -> Sequence[Pair]:
    if group == "*":
        return tuple((one, resource) for one in KUBERNETES_GROUPS)
    return () if group == PLATFORM_GROUP or group.endswith(f".{PLATFORM_GROUP}") else ((group, resource),)


def _namespaced(group: str, resource: str) -> Sequence[Pair]:
    return () if (group, resource.partition("/")[0]) in CLUSTER_SCOPED else ((group, resource),)


def _pairs(rule: PolicyRule) -> Iterator[Pair]:
    return ((group, resource) for group in rule.api_groups for resource in rule.resources)


def _meant(rule: PolicyRule) -> Iterator[tuple[Pair, tuple[str, ...]]]:
    """What a rule speaks of: as it is written, and the native resources behind virtual ones."""
    verbs = _sorted(rule.verbs)
    for pair in _pairs(rule):
        yield pair, verbs
        for native in counterparts(*pair):
            yield native, _sorted(native_verbs(*pair, rule.verbs))


def _names(rule: PolicyRule) -> tuple[str, ...]:
    return tuple(sorted({name for name in rule.resource_names if name}))


def _urls(rules: Iterable[PolicyRule]) -> tuple[tuple[RbacRule, ...], tuple[str, ...]]:
    """RBAC drops every star at the end of a path, the engine one: `/a**` would be wider, and is left out."""
    by_verbs: dict[tuple[str, ...], set[str]] = {}
    refused: set[str] = set()
    for rule in rules:
        for url in map(url_path, rule.non_resource_urls):
            if url.endswith("**"):
                refused.add(url)
            elif verbs := _sorted(map(url_verb, rule.verbs)):
                by_verbs.setdefault(verbs, set()).add(url)
    found = [RbacRule(verbs=verbs, non_resource_urls=tuple(sorted(urls))) for verbs, urls in by_verbs.items()]
    return tuple(found), tuple(sorted(refused))


def _native(parts: Iterable[_Part], paths: Iterable[RbacRule], left_out: tuple[str, ...] = ()) -> Native:
    """Parts put together into few rules: resources of one group first, then groups of equal resources."""
    resources: dict[tuple[tuple[str, ...], tuple[str, ...], str], set[str]] = {}
    for (group, resource), verbs, names in parts:
        if verbs:
            resources.setdefault((verbs, names, group), set()).add(resource)
    groups: dict[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], set[str]] = {}
    for (verbs, names, group), found in resources.items():
        groups.setdefault((verbs, names, _sorted(found)), set()).add(group)
    rules = [
        RbacRule(verbs=verbs, api_groups=_sorted(found), resources=together, resource_names=names)
        for (verbs, names, together), found in groups.items()
    ]
    ordered = tuple(sorted((*rules, *paths), key=msgspec.json.encode))
    size = len(msgspec.json.encode(ordered))
    if size > ROLE_BYTES_MAX:
        return Native((), (f"all of it: {size} bytes of rules do not fit into one ClusterRole",))
    return Native(ordered, left_out)


def _in_order(
    narrowed: tuple[list[_Part], tuple[str, ...]],
) -> tuple[list[_Part], tuple[RbacRule, ...], tuple[str, ...]]:
    parts, left_out = narrowed
    return parts, (), left_out


def _sorted(words: Iterable[str]) -> tuple[str, ...]:
    """Each once; a `*` says it all."""
    found = sorted(set(words))
    return ("*",) if "*" in found else tuple(found)


def _say(pair: Pair) -> str:
    group, resource = pair
    return f"{resource}.{group}" if group else resource
