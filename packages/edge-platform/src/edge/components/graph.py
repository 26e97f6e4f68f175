"""The dependency graph of Components (K4, K9). Pure; equal input gives equal text, whatever its order."""

from collections import deque
from collections.abc import Mapping, Sequence

from edge.components.types import Component
from edge_kube.conditions import is_true
from edge_kube.meta import Key, Model, key_of
from edge_sdk.semver import BadVersion, parse, parse_range

Graph = Mapping[Key, Component]


class Dependencies(Model):
    """What stands between a Component and its installation.

    cycle: the shortest one it is part of, from its smallest name round to it again; missing, unmet,
    waiting_for: texts for people, in the order of the names.
    """

    cycle: tuple[Key, ...] = ()
    missing: tuple[Key, ...] = ()
    unmet: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        return not (self.cycle or self.missing or self.unmet or self.waiting_for)


def upstreams(component: Component) -> tuple[Key, ...]:
    """Keys of what it needs, sorted; optional ones too."""
    own = component.metadata.namespace
    return tuple(sorted({Key(need.namespace or own, need.name) for need in component.spec.dependencies}))


def dependencies(component: Component, graph: Graph) -> Dependencies:
    cycle = find_cycle(key_of(component), graph)
    if cycle:
        return Dependencies(cycle=cycle)
    missing: set[Key] = set()
    unmet: set[str] = set()
    waiting: set[str] = set()
    for need in component.spec.dependencies:
        key = Key(need.namespace or component.metadata.namespace, need.name)
        other = graph.get(key)
        if other is None:
            if not need.optional:
                missing.add(key)
        elif not is_settled(other):
            waiting.add(str(key))
        elif need.version and not _matches(need.version, other):
            found = other.status.chart.version if other.status.chart else "none"
            unmet.add(f"{key} {need.version}, found {found}")
    return Dependencies(
        missing=tuple(sorted(missing)), unmet=tuple(sorted(unmet)), waiting_for=tuple(sorted(waiting))
    )


def is_settled(component: Component) -> bool:
    """Ready, and for the spec as it is now; one that is on its way out is not."""
    ready = next((c for c in component.status.conditions if c.type == "Ready"), None)
    return (
        component.spec.enabled
        and not component.metadata.deletion_timestamp
        and is_true(component.status.conditions, "Ready")
        and ready is not None
        and ready.observed_generation >= component.metadata.generation
    )


def dependents(key: Key, graph: Graph) -> tuple[Key, ...]:
    """Those that need `key` and are still installed, sorted; a member of a cycle does not count."""
    found = [
        other
        for other, component in graph.items()
        if other != key
        and key in upstreams(component)
        and (component.spec.enabled or component.status.observed_hash)
        and component.status.observed_hash
        and not find_cycle(other, graph)
    ]
    return tuple(sorted(found))


def find_cycle(start: Key, graph: Graph) -> tuple[Key, ...]:
    """The shortest cycle through `start` as a → b → a, beginning with its smallest name; () without one."""
    previous: dict[Key, Key] = {}
    queue = deque([start])
    while queue:
        current = queue.popleft()
        component = graph.get(current)
        for need in upstreams(component) if component else ():
            if need == start:
                return _rotated(_path(previous, start, current))
            if need not in previous:
                previous[need] = current
                queue.append(need)
    return ()


def cycle_text(cycle: Sequence[Key]) -> str:
    """a → b → c → a; the namespace is shown where the members have different ones."""
    together = len({key.namespace for key in cycle}) == 1
    return " → ".join(key.name if together else str(key) for key in cycle)


def _path(previous: Mapping[Key, Key], start: Key, last: Key) -> list[Key]:
    path = [last]
    while path[-1] != start:
        path.append(previous[path[-1]])
    return path[::-1]


def _rotated(path: Sequence[Key]) -> tuple[Key, ...]:
    first = path.index(min(path))
    turned = [*path[first:], *path[:first]]
    return (*turned, turned[0])


def _matches(wanted: str, component: Component) -> bool:
    version = component.status.chart.version if component.status.chart else ""
    try:
        return parse_range(wanted)(parse(version))
    except BadVersion:
        return False
