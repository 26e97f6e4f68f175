"""Helm's release records, read without Helm; and what wakes a Component."""

import base64
import gzip
import json
from typing import Any

from edge.adapters.helm_records import content_of, objects_of, revision_of
from edge.components.automatic import AUTOMATIC_LABEL, automatic, is_unused, wanted
from edge.components.types import ChartRef, Component, ComponentSpec, Dependency
from edge.components.wakes import Wakes, fingerprint
from edge_kube.core import ConfigMap, Deployment, WorkloadSpec, WorkloadStatus
from edge_kube.meta import Key, ObjectMeta

MANIFEST = """\
---
# Source: web/templates/a.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {date: "2024-01-01", plain: 2024-01-01}
---
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Secret, metadata: {name: b}}
---
apiVersion: v1
kind: Service\t
metadata: \t
  name: c
"""


def test_a_record_gives_the_chart_and_its_objects() -> None:
    record = {
        "manifest": MANIFEST,
        "chart": {"metadata": {"name": "web", "version": "1.2.3"}, "templates": [{"data": "x"}]},
        "info": {"status": "deployed"},
    }
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode()))).decode()
    content = content_of(packed)
    assert (content.chart.name, content.chart.version) == ("web", "1.2.3")
    assert [(o["kind"], o["metadata"]["name"]) for o in content.objects] == [
        ("ConfigMap", "a"), ("Secret", "b"), ("Service", "c"),
    ]  # fmt: skip
    assert content.objects[0]["data"]["plain"] == "2024-01-01"


def test_an_empty_manifest_has_no_objects() -> None:
    assert objects_of("") == ()
    assert objects_of("---\n# nothing\n") == ()


def test_labels_tell_a_revision() -> None:
    labels = {"version": "7", "status": "failed", "modifiedAt": "1795381982",
              "ext.theriseunion.io/component": "a.b", "ext.theriseunion.io/hash": "h"}  # fmt: skip
    revision = revision_of(labels)
    assert (revision.number, revision.status, revision.mark, revision.hash) == (7, "failed", "a.b", "h")
    assert revision_of({}).number == 0


def _component(name: str, **spec: Any) -> Component:
    return Component(metadata=ObjectMeta(name=name, namespace="edge-system"), spec=ComponentSpec(**spec))


def _helm_object(**metadata: Any) -> ConfigMap:
    annotations = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    return ConfigMap(metadata=ObjectMeta(name="x", annotations=annotations, labels=labels, **metadata))


def test_an_object_wakes_the_component_of_its_release() -> None:
    wakes = Wakes()
    component = _component("front", chart=ChartRef(namespace="shop", release_name="web"))
    assert wakes.of_object(_helm_object()) == []
    wakes.learn(component)
    assert [str(r) for r in wakes.of_object(_helm_object())] == ["edge-system/front"]
    assert wakes.of_object(ConfigMap(metadata=ObjectMeta(name="x"))) == []
    wakes.forget(Key("edge-system", "front"))
    assert wakes.of_object(_helm_object()) == []


def test_a_component_wakes_those_that_need_it_and_those_it_needs() -> None:
    wakes = Wakes()
    top = _component("top", dependencies=(Dependency(name="base"),))
    base = _component("base")
    wakes.learn(top)
    wakes.learn(base)
    assert [r.name for r in wakes.of_component(base)] == ["top"]
    assert [r.name for r in wakes.of_component(top)] == ["base"]


def test_a_fingerprint_moves_with_specs_and_readiness_not_with_counts() -> None:
    def web(generation: int, ready: int, rv: str) -> Deployment:
        return Deployment(
            metadata=ObjectMeta(name="w", uid="u", generation=generation, resource_version=rv),
            spec=WorkloadSpec(replicas=3),
            status=WorkloadStatus(ready_replicas=ready),
        )

    assert fingerprint([web(1, 1, "1")]) == fingerprint([web(1, 2, "2")])
    assert fingerprint([web(1, 2, "2")]) != fingerprint([web(1, 3, "3")])
    assert fingerprint([web(1, 3, "3")]) != fingerprint([web(2, 3, "4")])
    assert fingerprint([_helm_object(uid="a")]) != fingerprint([])


def test_what_is_brought_in_sits_beside_its_user_and_goes_with_the_last() -> None:
    panel = _component(
        "panel",
        chart=ChartRef(namespace="observability-system"),
        target_cluster="site",
        dependencies=(Dependency(name="prometheus", version=">=2"), Dependency(name="x", optional=True)),
    )
    graph = {Key("edge-system", "panel"): panel}
    ((key, need),) = wanted(panel, graph)
    made = automatic(key, need, panel)
    assert made.metadata.labels == {AUTOMATIC_LABEL: "true"}
    assert (made.spec.chart.name, made.spec.chart.namespace) == ("prometheus", "observability-system")
    assert (made.spec.version, made.spec.target_cluster) == (">=2", "site")
    graph[key] = made
    assert list(wanted(panel, graph)) == []
    assert not is_unused(made, graph)
    assert is_unused(made, {key: made})
    assert not is_unused(panel, {})
