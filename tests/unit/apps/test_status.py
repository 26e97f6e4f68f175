"""Status of a deployment: each place alone, small enough for etcd; steps that survive a kill (A5, P3, P8)."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.apps.objects import deployment, group, workloads

from edge.apps.placement import World, expand
from edge.apps.plan import Inventory, Ref, plan_place, read_inventory, refs_of
from edge.apps.rules import Choice
from edge.apps.status import Settled, deferred, deployment_status, place_status
from edge.apps.types import TopologyStatus
from edge_kube.core import ConfigMap
from edge_kube.meta import Manifest
from edge_sdk.provisioner import ProvisionStatus

NOW = "2026-01-01T00:00:00Z"
WORLD = World(groups={f"g{number:03}": group(f"g{number:03}") for number in range(500)})
VERSION = workloads("v1.0.0", "qc")
SETTLED = Settled(choice=Choice(version=VERSION), version=VERSION)


def statuses(*states: ProvisionStatus) -> list[TopologyStatus]:
    owner = deployment("latest", *({"nodeGroup": f"g{number:03}"} for number in range(len(states))))
    return [place_status(place, state) for place, state in zip(expand(owner, WORLD), states, strict=True)]


READY = ProvisionStatus(phase="Ready", replicas=3, ready_replicas=3)
BROKEN = ProvisionStatus(phase="Failed", reason="ImagePullBackOff", message="no image", replicas=2)
SLOW = ProvisionStatus(phase="Progressing", reason="WaitingForPods", replicas=2, ready_replicas=1)


def summarised(*states: ProvisionStatus) -> tuple[str, str, str]:
    owner = deployment("latest", *({"nodeGroup": f"g{number:03}"} for number in range(len(states))))
    status = deployment_status(owner, SETTLED, statuses(*states), NOW)
    return status.phase, status.ready_status, status.conditions[0].reason


def test_the_whole_is_as_good_as_its_places() -> None:
    assert summarised(READY, READY) == ("Ready", "6/6", "AllTopologiesReady")
    assert summarised(READY, SLOW) == ("Progressing", "4/5", "Progressing")
    assert summarised(READY, BROKEN) == ("Degraded", "3/5", "ImagePullBackOff")
    assert summarised(BROKEN, BROKEN) == ("Failed", "0/4", "ImagePullBackOff")
    assert summarised() == ("Pending", "0/0", "NoTopologies")


def test_a_failed_place_is_named_with_its_message() -> None:
    owner = deployment("latest", {"nodeGroup": "g000"}, {"nodeGroup": "g001"})
    message = deployment_status(owner, SETTLED, statuses(READY, BROKEN), NOW).message
    assert message == "1 of 2 topologies stand still: topology 1 (node group g001): no image"


def test_a_place_whose_cluster_is_away_keeps_what_was_last_seen() -> None:
    owner = deployment("latest", {"nodeGroup": "g000"})
    (place,) = expand(owner, WORLD)
    seen = place_status(place, msgspec.structs.replace(READY, nodes=("n1",), workload_name="qc-g000"))
    away = deferred(place, seen, "no route to host")
    assert (away.phase, away.nodes, away.replicas, away.workload_name) == ("Deferred", ("n1",), 3, "qc-g000")
    assert "no route to host" in away.message


def test_five_hundred_places_with_overrides_and_ten_changes_of_version_fit_into_one_object() -> None:
    env = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(20)]
    template = {"spec": {"containers": [{"name": "main", "env": env}]}}
    override = {"deployments": [{"name": "qc", "spec": {"replicas": 3, "template": template}}]}
    topologies = [{"nodeGroup": name, "workloadOverride": override} for name in WORLD.groups]
    owner = deployment("latest", *topologies)
    state = ProvisionStatus(
        phase="Failed",
        reason="CreateContainerConfigError",
        message="m" * 400,
        nodes=tuple(f"node-{number}.site.example.com" for number in range(10)),
        workload_name="qc-with-a-long-name-" + "x" * 30,
    )
    for number in range(10):
        wanted = workloads(f"v1.{number}.0", "qc")
        settled = Settled(choice=Choice(version=wanted), version=wanted)
        places = [place_status(place, state) for place in expand(owner, WORLD)]
        status = deployment_status(owner, settled, places, NOW)
        owner = msgspec.structs.replace(owner, status=status)
    assert len(owner.status.history) == 10
    assert len(msgspec.json.encode(owner.status)) < 600_000
    assert len(msgspec.json.encode(owner)) < 1_500_000


refs = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True)


def config_map(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "team-a"}}


class Place:
    """The cluster side of one place; `carry_out` may be cut off after any number of steps."""

    def __init__(self) -> None:
        self.objects: set[Ref] = set()
        self.inventory: Inventory | None = None

    def carry_out(self, names: list[str], cut_after: int = 100) -> None:
        owner = deployment("latest", {"nodeGroup": "g000"})
        (place,) = expand(owner, WORLD)
        steps = plan_place(owner, VERSION, place, [config_map(name) for name in names], self.inventory)
        todo: list[tuple[str, Manifest | Ref]] = []
        todo += [("record", steps.before)] if steps.before is not None else []
        todo += [("apply", manifest) for manifest in steps.apply]
        todo += [("remove", ref) for ref in steps.remove]
        todo += [("record", steps.after)] if steps.after is not None else []
        for verb, what in todo[:cut_after]:
            if verb == "record":
                self.inventory = read_inventory(msgspec.convert(what, ConfigMap))
            elif isinstance(what, Ref):
                self.objects.discard(what)
            else:
                self.objects |= set(refs_of([what]))
            known = set(self.inventory.objects) if self.inventory else set[Ref]()
            assert self.objects <= known, "an object is never there without a record of it"


@given(first=refs, second=refs, cut=st.integers(0, 8))
def test_a_controller_killed_between_any_two_steps_leaves_nothing_unknown(
    first: list[str], second: list[str], cut: int
) -> None:
    place = Place()
    place.carry_out(first, cut)
    place.carry_out(second)
    assert {ref.name for ref in place.objects} == set(second)
    assert place.inventory is not None
    assert {ref.name for ref in place.inventory.objects} == set(second)
