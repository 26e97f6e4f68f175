"""Plugins are found by entry points, checked when loaded, and refused one by one (A4, A9)."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edge_sdk.plugins import BadPlugin, Registry, as_provisioner
from edge_sdk.problem import Violation
from edge_sdk.provisioner import Deployed, Plan, ProvisionerPlugin, ProvisionStatus, Topology, Version

VERSION = Version(application="a", version="1.0.0")
PLACE = Topology(namespace="team-a")
DEPLOYED = Deployed(namespace="team-a", name="a", version=VERSION, topology=PLACE)


class Short:
    """The short printed form: provision, unprovision, get_status."""

    def provision(self, version: Version, topology: Topology) -> Plan:
        return Plan(objects=({"kind": "ConfigMap", "metadata": {"name": topology.name(version.version)}},))

    def unprovision(self, deployment: Deployed) -> Plan:
        return self.provision(deployment.version, deployment.topology)

    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        return ProvisionStatus(phase="Ready", message=deployment.name)


class Long(ProvisionerPlugin):
    """The long printed form, by inheriting."""

    def validate(self, version: Version) -> Sequence[Violation]:
        return ()

    def provision(self, version: Version, topology: Topology) -> Plan:
        return Plan()

    def get_status(self, deployment: Deployed) -> ProvisionStatus:
        return ProvisionStatus(phase="Ready")


class Incomplete(ProvisionerPlugin):
    def provision(self, version: Version, topology: Topology) -> Plan:
        return Plan()


class WrongSignature(Short):
    def provision(self, version: Version) -> Plan:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Plan()


class Asynchronous(Short):
    async def provision(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, version: Version, topology: Topology
    ) -> Plan:
        return Plan()


class Exploding:
    def __init__(self) -> None:
        raise OSError("no licence file")


def points(*names: str) -> list[EntryPoint]:
    return [EntryPoint(name.lower(), f"{__name__}:{name}", "edge.provisioners") for name in names]


def test_the_short_form_serves_all_five_questions() -> None:
    plugin = as_provisioner("short", Short)
    assert plugin.validate(VERSION) == ()
    assert plugin.update(VERSION, VERSION, PLACE) == plugin.provision(VERSION, PLACE)
    assert plugin.delete(DEPLOYED) == plugin.provision(VERSION, PLACE)
    assert plugin.get_status(DEPLOYED).message == "a"


def test_the_long_form_has_both_names_for_taking_away() -> None:
    plugin = Long()
    assert plugin.unprovision(DEPLOYED) == plugin.delete(DEPLOYED) == Plan()
    assert as_provisioner("long", plugin) is plugin


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Incomplete, "does not implement get_status, validate"),
        (WrongSignature, "provision(version: edge_sdk.provisioner.Version) -> edge_sdk.provisioner.Plan "),
        (Asynchronous, "provision is asynchronous"),
        (object(), "lacks validate, provision, update, delete, get_status"),
    ],
    ids=["incomplete", "signature", "asynchronous", "no-plugin"],
)
def test_a_plugin_that_breaks_the_protocol_is_refused_with_the_method(plugin: object, message: str) -> None:
    with pytest.raises(BadPlugin) as refusal:
        as_provisioner("broken", plugin)
    assert message in str(refusal.value)
    assert "broken" in str(refusal.value)


def test_a_bad_plugin_is_refused_alone() -> None:
    found = [*points("Incomplete", "Long", "Exploding", "Short"), EntryPoint("gone", "no.such:X", "x")]
    registry = Registry(lambda: found)
    assert registry.refresh() == ("long", "short")
    assert registry.names == ("long", "short")
    assert set(registry.refused) == {"incomplete", "exploding", "gone"}
    assert "no licence file" in registry.refused["exploding"]
    assert "ModuleNotFoundError" in registry.refused["gone"]


def test_a_second_plugin_of_a_name_does_not_push_out_the_first() -> None:
    registry = Registry(lambda: [*points("Long"), EntryPoint("long", f"{__name__}:Short", "x")])
    registry.refresh()
    assert isinstance(registry.get("long"), Long)
    assert "already serves long" in registry.refused["long"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_plugin_installed_while_running_is_picked_up(site: Path) -> None:
    registry = Registry()
    registry.refresh()
    assert registry.get("late") is None
    (site / "late_plugin.py").write_text(
        "class Late:\n"
        "    def provision(self, version, topology): ...\n"
        "    def unprovision(self, deployment): ...\n"
        "    def get_status(self, deployment): ...\n"
    )
    info = site / "late_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edge.provisioners]\nlate = late_plugin:Late\n")
    assert registry.refresh() == ("late",)
    assert registry.get("late") is not None


def test_names_of_topologies_are_names_of_objects_and_tell_places_apart() -> None:
    assert Topology(namespace="a", node_group="beijing-edge").name("qc") == "qc-beijing-edge"
    assert Topology(namespace="a").name("qc") == "qc"
    dotted = Topology(namespace="a", node_name="node.1").name("qc")
    dashed = Topology(namespace="a", node_name="node-1").name("qc")
    assert dashed == "qc-node-1"
    assert dotted != dashed
    assert dotted.startswith("qc-node-1-")
    long = Topology(namespace="a", node_group="g" * 63)
    assert len(long.name("workload")) == 58
    assert long.name("workload") != long.name("workloae")
