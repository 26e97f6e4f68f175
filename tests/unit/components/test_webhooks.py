"""Admission of Components: field, value, reason, what is accepted (bad input)."""

from typing import Any

import msgspec
import pytest

from edge.components.durations import seconds_of
from edge.components.types import Component, ComponentSpec, ComponentStatus
from edge.components.webhooks import validate
from edge_kube.meta import ObjectMeta


def _component(
    name: str = "web", *, deleted: bool = False, installed: bool = False, **spec: Any
) -> Component:
    return Component(
        metadata=ObjectMeta(name=name, namespace="edge-system", deletion_timestamp="now" if deleted else ""),
        spec=msgspec.convert(spec, ComponentSpec),
        status=ComponentStatus(observed_hash="h" if installed else ""),
    )


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {
            "version": "1.2.3",
            "chart": {"name": "web", "repository": "http://museum:8080"},
            "timeout": "1h30m",
        },
        {
            "version": "^1.2",
            "chart": {"repository": "builtin"},
            "dependencies": [{"name": "etcd", "version": ">=3"}],
        },
        {"dependencies": [{"name": "web", "namespace": "other"}], "targetCluster": "site-1"},
    ],
)
def test_what_the_documents_print_is_admitted(spec: dict[str, Any]) -> None:
    assert validate(_component(**spec), None) == []


@pytest.mark.parametrize(
    ("name", "spec", "field", "part"),
    [
        (
            "web",
            {"dependencies": [{"name": "web"}]},
            "spec.dependencies[0].name",
            "web → web: it would need itself",
        ),
        ("web", {"dependencies": [{"name": "a"}, {"name": "a"}]}, "spec.dependencies[1].name", "twice"),
        ("web", {"dependencies": [{"name": "a", "version": "new"}]}, "spec.dependencies[0].version", "range"),
        ("web", {"version": "latest"}, "spec.version", "neither a version nor a range"),
        ("web", {"timeout": "soon"}, "spec.timeout", "no duration"),
        ("w" * 54, {}, "metadata.name", "54 characters"),
        ("web", {"chart": {"releaseName": "Web"}}, "spec.chart.releaseName", "set spec.chart.releaseName"),
        ("web", {"chart": {"namespace": "a/b"}}, "spec.chart.namespace", "no namespace"),
        ("web", {"chart": {"name": "../web"}}, "spec.chart.name", "no chart's name"),
        ("web", {"chart": {"repository": "oci://x"}}, "spec.chart.repository", "fetched by HTTP"),
        ("web", {"targetCluster": "A b"}, "spec.targetCluster", "names no Cluster"),
        ("web", {"values": {"x": "y" * 600_000}}, "spec.values", "do not fit"),
    ],
)
def test_what_cannot_work_is_refused(name: str, spec: dict[str, Any], field: str, part: str) -> None:
    (violation,) = validate(_component(name, **spec), None)
    assert violation.field == field
    assert part in str(violation)
    assert violation.accepted


def test_an_installed_release_is_not_left_behind_by_a_new_name() -> None:
    moved = _component(chart={"namespace": "elsewhere"})
    assert [v.field for v in validate(moved, _component(installed=True))] == ["spec.chart"]
    assert validate(moved, _component()) == []
    assert (
        validate(_component(enabled=False, chart={"namespace": "elsewhere"}), _component(installed=True))
        == []
    )


def test_a_component_on_its_way_out_is_let_through() -> None:
    assert validate(_component(deleted=True, timeout="soon"), None) == []


def test_durations_are_go_durations() -> None:
    assert [seconds_of(text) for text in ("300s", "5m", "1h30m", "250ms")] == [300, 300, 5400, 0.25]
