"""The effective spec and its hash (K2)."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.components.effective import canonical_json, deep_merge, effective_hash, mark_of
from edge.components.types import Component, ComponentSpec, ResolvedChart
from edge_kube.meta import Key, ObjectMeta

CHART = ResolvedChart(name="web", version="1.0.0", digest="d" * 64)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)
_maps = st.dictionaries(st.text(max_size=3), _values, max_size=4)


def _component(**spec: Any) -> Component:
    return Component(
        metadata=ObjectMeta(name="web", namespace="edge-system"), spec=msgspec.convert(spec, ComponentSpec)
    )


def test_the_hash_is_what_it_was_in_the_first_release() -> None:
    """A golden value: were it to change, every release everywhere would be upgraded for nothing."""
    values = {"b": [1, 2.0, {"z": None}], "a": "é", "on": True}
    assert effective_hash(_component(), CHART, values) == (
        "c488a63d23fa69743491882ee6e8a7a906a1f7a441182a555cc0fa8d0d460d57"
    )


def test_the_canonical_form_is_one_text_a_value() -> None:
    assert canonical_json({"b": 1.0, "a": [True, None, "e\u0301"]}) == '{"a":[true,null,"é"],"b":1}'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(float("nan"))


@given(_maps)
def test_the_order_of_keys_does_not_count(values: dict[str, Any]) -> None:
    turned = dict(reversed(list(values.items())))
    assert effective_hash(_component(), CHART, values) == effective_hash(_component(), CHART, turned)


@given(_maps, _maps)
def test_other_values_give_another_hash(one: dict[str, Any], two: dict[str, Any]) -> None:
    same = effective_hash(_component(), CHART, one) == effective_hash(_component(), CHART, two)
    assert same == (canonical_json(one) == canonical_json(two))


def test_what_only_gates_a_release_does_not_count() -> None:
    plain = effective_hash(_component(), CHART, {})
    for spec in (
        {"timeout": "9s"}, {"maxRetries": 9}, {"driftPolicy": "Off"}, {"dependencies": [{"name": "x"}]},
        {"suspend": True}, {"rollback": {"enabled": False}}, {"enabled": False},
    ):  # fmt: skip
        assert effective_hash(_component(**spec), CHART, {}) == plain


def test_everything_that_decides_the_release_counts() -> None:
    hashes = [
        effective_hash(_component(), CHART, {}),
        effective_hash(_component(chart={"releaseName": "other"}), CHART, {}),
        effective_hash(_component(chart={"namespace": "other"}), CHART, {}),
        effective_hash(_component(targetCluster="site"), CHART, {}),
        effective_hash(_component(targetCluster="site"), CHART, {}, "uid"),
        effective_hash(_component(), msgspec.structs.replace(CHART, digest="e" * 64), {}),
        effective_hash(_component(), msgspec.structs.replace(CHART, version="1.0.1"), {}),
        effective_hash(_component(), CHART, {"a": None}),
    ]
    assert all(one != two for one, two in itertools.combinations(hashes, 2))


def test_later_values_win_and_nulls_stay() -> None:
    merged = deep_merge([{"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": None}, "l": [2]}, {"a": {"d": 3}}])
    assert merged == {"a": {"b": None, "c": 2, "d": 3}, "l": [2]}


@given(st.lists(_maps, max_size=3))
def test_merging_changes_none_of_the_layers(layers: list[dict[str, Any]]) -> None:
    before = canonical_json(layers)
    deep_merge(layers)
    assert canonical_json(layers) == before


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True), st.integers(1, 250))
def test_a_mark_is_a_label_and_tells_components_apart(namespace: str, length: int) -> None:
    one, two = mark_of(Key(namespace, "a" * length)), mark_of(Key(namespace, "a" * (length - 1) + "b"))
    assert len(one) <= 63
    assert one != two
