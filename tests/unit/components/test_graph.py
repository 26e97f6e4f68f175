"""Order, cycles and dependents (K4)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.components.graph import cycle_text, dependencies, dependents, find_cycle, upstreams
from edge.components.types import Component, ComponentSpec, ComponentStatus, Dependency, ResolvedChart
from edge_kube.meta import Condition, Key, ObjectMeta


def _graph(edges: Mapping[str, Sequence[str]], *, ready: bool = True) -> dict[Key, Component]:
    condition = Condition(
        type="Ready", status="True" if ready else "False", reason="X", observed_generation=1
    )
    return {
        Key("ns", name): Component(
            metadata=ObjectMeta(name=name, namespace="ns", generation=1),
            spec=ComponentSpec(dependencies=tuple(Dependency(name=need) for need in needs)),
            status=ComponentStatus(
                conditions=(condition,), observed_hash="h", chart=ResolvedChart(version="2.1.0")
            ),
        )
        for name, needs in edges.items()
    }


_names = st.sampled_from("abcdef")
_edges = st.dictionaries(_names, st.lists(_names, max_size=3), max_size=6)


@given(_edges)
def test_installing_what_is_ready_ends_with_all_but_cycles_each_after_its_upstreams(
    edges: dict[str, list[str]],
) -> None:
    graph = _graph(
        {name: [need for need in needs if need in edges] for name, needs in edges.items()}, ready=False
    )
    settled = _graph(edges)
    installed: list[Key] = []
    while free := [k for k, c in graph.items() if k not in installed and dependencies(c, graph).is_ready]:
        assert all(need in installed for need in upstreams(graph[free[0]]))
        installed.append(free[0])
        graph[free[0]] = msgspec.structs.replace(graph[free[0]], status=settled[free[0]].status)
    for key in set(graph) - set(installed):
        blocked = dependencies(graph[key], graph)
        assert blocked.cycle or blocked.waiting_for


@given(_edges)
def test_a_cycle_reads_the_same_for_all_its_members(edges: dict[str, list[str]]) -> None:
    graph = _graph(edges)
    for key in graph:
        cycle = find_cycle(key, graph)
        if cycle:
            assert cycle[0] == cycle[-1] == min(cycle)
            assert key in cycle
            assert all(after in upstreams(graph[before]) for before, after in pairwise(cycle))


def test_the_cycle_is_named_from_its_smallest_name_round() -> None:
    graph = _graph({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})
    for name in "abc":
        assert cycle_text(find_cycle(Key("ns", name), graph)) == "a → b → c → a"
    assert find_cycle(Key("ns", "d"), graph) == ()
    mixed = (Key("x", "a"), Key("y", "b"), Key("x", "a"))
    assert cycle_text(mixed) == "x/a → y/b → x/a"


def test_what_is_not_ready_at_its_current_generation_is_waited_for() -> None:
    graph = _graph({"top": ["base"], "base": []})
    top = graph[Key("ns", "top")]
    assert dependencies(top, graph).is_ready
    waiting = _graph({"top": ["base"], "base": []}, ready=False)
    assert dependencies(top, waiting).waiting_for == ("ns/base",)
    assert dependencies(top, {}).missing == (Key("ns", "base"),)


def test_dependents_are_those_installed_that_need_it() -> None:
    graph = _graph({"base": [], "one": ["base"], "two": ["base", "one"]})
    assert dependents(Key("ns", "base"), graph) == (Key("ns", "one"), Key("ns", "two"))
    assert dependents(Key("ns", "two"), graph) == ()


def test_a_chain_of_hundreds_is_searched_without_recursion() -> None:
    names = [f"n{number:04}" for number in range(600)]
    graph = _graph({name: [after] for name, after in zip(names, [*names[1:], names[0]], strict=True)})
    assert len(find_cycle(Key("ns", "n0300"), graph)) == 601
