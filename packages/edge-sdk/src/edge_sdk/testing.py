"""Conformance tests that a provisioner plugin runs against itself (A9).

    class TestEcho(ProvisionerConformance):
        plugin = Echo()
        good = (Version(application="echo", version="1.0.0", spec={"config": {"text": "hi"}}),)
        bad = (Version(application="echo", version="1.0.0", spec={"config": {}}),)

pytest then runs every test of the base class for every version given. Importing this module needs pytest.
"""

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import msgspec
import pytest

from edge_kube.meta import Manifest
from edge_sdk.plugins import as_provisioner
from edge_sdk.provisioner import Deployed, Plan, Provisioner, Topology, Version, plan_problems

PHASES = ("Pending", "Progressing", "Ready", "Failed")
PLACES = (
    Topology(namespace="team-a", node_group="beijing-edge"),
    Topology(namespace="team-a", node_group="shanghai-edge"),
    Topology(namespace="team-a", node_name="node-1.example.com"),
    Topology(namespace="team-a", cluster="factory"),
)

STRANGE: tuple[Manifest, ...] = (
    {},
    {"config": {}},
    {"config": {"x": [None, 1, {"y": "z"}]}},
    {"workloadConfig": {}},
)


class ProvisionerConformance:
    """Inherit, set the three, and name the class Test…."""

    plugin: ClassVar[object]
    good: ClassVar[Sequence[Version]]
    bad: ClassVar[Sequence[Version]]

    def provisioner(self) -> Provisioner:
        return as_provisioner(type(self).__name__, self.plugin)

    def plans(self) -> list[tuple[Version, Topology, Plan]]:
        provisioner = self.provisioner()
        return [(v, t, provisioner.provision(v, t)) for v in self.good for t in PLACES]

    def test_versions_are_given(self) -> None:
        assert self.good, "give at least one version that works in `good`"

    def test_good_versions_are_accepted(self) -> None:
        for version in self.good:
            assert list(self.provisioner().validate(version)) == []

    def test_a_refusal_names_the_field_the_reason_and_starts_at_spec(self) -> None:
        for version in self.bad:
            violations = self.provisioner().validate(version)
            assert violations, f"{version.spec} must be refused"
            for violation in violations:
                assert violation.field.startswith("spec"), violation
                assert violation.why, violation

    def test_any_settings_are_judged_and_never_crash(self) -> None:
        for spec in STRANGE:
            self.provisioner().validate(Version(application="x", version="1.0.0", spec=spec))

    def test_plans_hold_only_what_the_platform_applies(self) -> None:
        for version, topology, plan in self.plans():
            assert plan_problems(plan) == [], (version.version, topology)
            assert plan.objects, "a version that is deployed makes at least one object"

    def test_plans_are_json(self) -> None:
        for _, _, plan in self.plans():
            assert json.loads(json.dumps(plan.objects)) == list(plan.objects)

    def test_equal_questions_get_equal_answers(self) -> None:
        again = self.plans()
        assert [plan for *_, plan in self.plans()] == [plan for *_, plan in again]

    def test_what_is_given_is_not_changed(self) -> None:
        given = [copy.deepcopy(msgspec.to_builtins(version)) for version in self.good]
        self.plans()
        assert [msgspec.to_builtins(version) for version in self.good] == given

    def test_two_topologies_of_one_cluster_share_no_object(self) -> None:
        provisioner = self.provisioner()
        for version in self.good:
            keys = [_keys(provisioner.provision(version, place)) for place in PLACES if not place.cluster]
            for index, one in enumerate(keys):
                for other in keys[index + 1 :]:
                    assert not one & other, "name every object by topology.name(…)"

    def test_objects_stay_in_the_topologys_namespace(self) -> None:
        for _, topology, plan in self.plans():
            for obj in plan.objects:
                metadata = cast("dict[str, Any]", obj["metadata"])
                assert metadata.get("namespace", topology.namespace) == topology.namespace

    def test_workloads_have_a_pod_template_with_containers(self) -> None:
        for _, _, plan in self.plans():
            for obj in plan.objects:
                if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
                    assert obj["spec"]["template"]["spec"]["containers"]

    def test_an_update_ends_where_a_new_deployment_would(self) -> None:
        provisioner = self.provisioner()
        for version, topology, plan in self.plans():
            for old in self.good:
                assert _keys(provisioner.update(old, version, topology)) >= _keys(plan)

    def test_an_update_to_itself_changes_nothing(self) -> None:
        provisioner = self.provisioner()
        for version, topology, plan in self.plans():
            assert provisioner.update(version, version, topology) == plan

    def test_deleting_leaves_at_most_what_was_there(self) -> None:
        self._for_each_deployed(
            lambda provisioner, deployed, plan: _keys(provisioner.delete(deployed)) <= _keys(plan)
        )

    def test_nothing_seen_is_not_ready(self) -> None:
        self._for_each_deployed(
            lambda provisioner, deployed, _: (
                provisioner.get_status(deployed).phase in PHASES
                and provisioner.get_status(deployed).phase != "Ready"
            )
        )

    def _for_each_deployed(self, holds: Callable[[Provisioner, Deployed, Plan], bool]) -> None:
        provisioner = self.provisioner()
        for version, topology, plan in self.plans():
            deployed = Deployed(namespace="team-a", name="app", version=version, topology=topology)
            assert holds(provisioner, deployed, plan), (version.version, topology)

    @pytest.fixture(autouse=True)
    def _complete(self) -> None:
        for name in ("plugin", "good", "bad"):
            assert hasattr(self, name), f"{type(self).__name__} must set `{name}`"


def _keys(plan: Plan) -> set[tuple[str, str]]:
    return {_key(obj) for obj in plan.objects}


def _key(obj: Manifest) -> tuple[str, str]:
    return f"{obj['apiVersion']}/{obj['kind']}", obj["metadata"]["name"]
