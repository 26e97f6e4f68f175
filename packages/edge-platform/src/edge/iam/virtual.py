"""API groups that rules name and no API server serves, and what each stands for natively. Pure.

Role templates of existing installations speak of `tenant`, `resources`, `terminal`, … A rule about one of
these also gives the native resource in this table, so that kubectl as that user is held to the same rights.
What is not in the table has no native counterpart: it is matched as it is written, and nothing else.
Source: spec/upstream-contract §5; I3.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from edge_sdk.scopes import APP_GROUP, IAM_GROUP, SCOPE_GROUP

TENANT: Final = "tenant.theriseunion.io"
RESOURCES: Final = "resources.theriseunion.io"
TERMINAL: Final = "terminal.theriseunion.io"
INFRA: Final = "infra.theriseunion.io"

Pair = tuple[str, str]
"""API group and resource (or resource/subresource)."""

_CORE: Final = """configmaps secrets serviceaccounts services endpoints pods pods/log pods/status events
    resourcequotas limitranges podtemplates replicationcontrollers persistentvolumeclaims persistentvolumes
    nodes namespaces"""

_BY_GROUP: Final[Mapping[str, str]] = {
    "": _CORE,
    "apps": "deployments replicasets statefulsets daemonsets controllerrevisions",
    "batch": "jobs cronjobs",
    "networking.k8s.io": "ingresses networkpolicies",
    "autoscaling": "horizontalpodautoscalers",
    "storage.k8s.io": "storageclasses",
    "events.k8s.io": "events",
    SCOPE_GROUP: "clusters",
    APP_GROUP: "applications",
}


def _table() -> dict[Pair, tuple[Pair, ...]]:
    table: dict[Pair, tuple[Pair, ...]] = {}
    for group, resources in _BY_GROUP.items():
        for resource in resources.split():
            table[RESOURCES, resource] = (*table.get((RESOURCES, resource), ()), (group, resource))
    for resource in ("clusters", "workspaces", "nodegroups", "nodegroups/status"):
        table[TENANT, resource] = ((SCOPE_GROUP, resource),)
    for resource in ("namespaces", "workspaces/namespaces", "nodegroups/namespaces"):
        table[TENANT, resource] = (("", "namespaces"),)
    for resource in ("nodes", "nodegroups/nodes"):
        table[TENANT, resource] = (("", "nodes"),)
    table[TERMINAL, "pods/exec"] = (("", "pods/exec"),)
    table[INFRA, "nodegroups"] = table[INFRA, "namespaces/nodegroups"] = ((SCOPE_GROUP, "nodegroups"),)
    return table


NATIVE: Final = _table()

SCOPE_PARENTS: Final = frozenset({"clusters", "workspaces", "nodegroups", "namespaces", "nodes"})
"""Resources whose objects are scopes; in the platform's own groups a child may be named alone (§4.2)."""

_READS_CHILDREN: Final = (TENANT, IAM_GROUP, APP_GROUP, "image.theriseunion.io", INFRA)


def counterparts(group: str, resource: str) -> tuple[Pair, ...]:
    """The native resources behind a virtual one; a `*` stands for all of its group."""
    if resource == "*" and group in (TENANT, RESOURCES, TERMINAL, INFRA):
        found = {pair: None for (g, _), pairs in NATIVE.items() if g == group for pair in pairs}
        return tuple(found)
    return NATIVE.get((group, resource), ())


def native_verbs(group: str, resource: str, verbs: Iterable[str]) -> Iterator[str]:
    """The verbs on the native side: a web terminal is a GET at the gateway and a POST in Kubernetes."""
    yield from verbs
    if (group, resource) == (TERMINAL, "pods/exec"):
        yield "create"


def child_of_scope(group: str, resource: str) -> str:
    """The child of `workspaces/members` and the like, which a rule may also name alone; else ""."""
    parent, slash, child = resource.partition("/")
    return child if slash and parent in SCOPE_PARENTS and group in _READS_CHILDREN else ""
