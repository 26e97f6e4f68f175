"""Components brought in because others need them: marked, and removed with their last user (K4, K9). Pure."""

from collections.abc import Iterator

from edge.components.effective import release_of
from edge.components.graph import Graph, upstreams
from edge.components.types import GROUP, ChartRef, Component, ComponentSpec, Dependency
from edge_kube.meta import Key, ObjectMeta, key_of

AUTOMATIC_LABEL = f"{GROUP}/auto-dependency"


def wanted(component: Component, graph: Graph) -> Iterator[tuple[Key, Dependency]]:
    """Dependencies that have no Component yet and may get one: in its own namespace, and not optional."""
    own = component.metadata.namespace
    for need in component.spec.dependencies:
        key = Key(need.namespace or own, need.name)
        if key not in graph and key.namespace == own and not need.optional:
            yield key, need


def automatic(key: Key, need: Dependency, user: Component) -> Component:
    """A Component of the chart of that name, beside its user: same namespace, cluster and repository."""
    chart = ChartRef(
        name=key.name, namespace=release_of(user).namespace, repository=user.spec.chart.repository
    )
    return Component(
        metadata=ObjectMeta(name=key.name, namespace=key.namespace, labels={AUTOMATIC_LABEL: "true"}),
        spec=ComponentSpec(chart=chart, version=need.version, target_cluster=user.spec.target_cluster),
    )


def is_unused(component: Component, graph: Graph) -> bool:
    """True for one that was brought in and that no Component names any more, whatever its phase."""
    if component.metadata.labels.get(AUTOMATIC_LABEL) != "true" or component.metadata.deletion_timestamp:
        return False
    key = key_of(component)
    return not any(
        key in upstreams(other) and not other.metadata.deletion_timestamp
        for where, other in graph.items()
        if where != key
    )
