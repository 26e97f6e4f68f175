"""Node groups as pure plans: membership, templates, ownership, conflicts (N1, R35)."""

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.nodes.plan import NodePlan, counts, plan_nodes, status_of
from edge.nodes.types import APPLIED_TAINTS_ANNOTATION, PRIMARY_ANNOTATION, NodeGroup
from edge_kube.core import Node, Taint
from edge_sdk.scopes import NODE_GROUP_LABEL, NODE_GROUP_MEMBER_PREFIX


def group(name: str, *, age: int = 0, deleted: bool = False, **spec: Any) -> NodeGroup:
    metadata = {"name": name, "generation": 1, "creationTimestamp": f"2026-01-01T00:00:{age:02d}Z"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    return msgspec.convert({"metadata": metadata, "spec": spec}, NodeGroup)


def selecting(name: str, where: Mapping[str, str], /, *, age: int = 0, **template: Any) -> NodeGroup:
    return group(name, age=age, selector={"matchLabels": where}, template=template)


def node(name: str, labels: Mapping[str, str] | None = None, *taints: Taint, ready: bool = True) -> Node:
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    made = msgspec.convert(
        {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels or {}}, "status": status}, Node
    )
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, taints=taints))


class Cluster:
    """Nodes, and what the API server would make of our plans: applied fields are owned, others stay."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {one.metadata.name: one for one in nodes}
        self.owned: dict[str, dict[str, dict[str, str]]] = {}

    def carry_out(self, *groups: NodeGroup) -> tuple[NodePlan, ...]:
        plans = plan_nodes(groups, self.nodes.values())
        for plan in plans:
            self._apply(plan)
        return plans

    def settle(self, *groups: NodeGroup) -> None:
        self.carry_out(*groups)
        for plan in plan_nodes(groups, self.nodes.values()):
            before = self.nodes[plan.name]
            self._apply(plan)
            assert self.nodes[plan.name] == before, "a carried-out plan leaves nothing to do"

    def _apply(self, plan: NodePlan) -> None:
        have = self.nodes[plan.name]
        meta = have.metadata
        fields = {"labels": dict(meta.labels), "annotations": dict(meta.annotations)}
        if plan.manifest is not None:
            owned = self.owned.get(plan.name, {"labels": {}, "annotations": {}})
            for path, target in fields.items():
                wanted = plan.manifest["metadata"].get(path, {})
                for key, value in owned[path].items():
                    if key not in wanted and target.get(key) == value:
                        del target[key]
                # A value that was there before us has two owners, and stays when we let go.
                self.owned.setdefault(plan.name, {"labels": {}, "annotations": {}})[path] = {
                    key: value
                    for key, value in wanted.items()
                    if key in owned[path] or target.get(key) != value
                }
                target.update(wanted)
        spec = have.spec
        if plan.taints is not None:
            spec = msgspec.structs.replace(spec, taints=plan.taints.taints)
            fields["annotations"].pop(APPLIED_TAINTS_ANNOTATION, None)
            if plan.taints.record:
                fields["annotations"][APPLIED_TAINTS_ANNOTATION] = plan.taints.record
        self.nodes[plan.name] = msgspec.structs.replace(
            have, metadata=msgspec.structs.replace(meta, **fields), spec=spec
        )


EDGE = {"region": "beijing"}


def test_a_selected_node_gets_the_template_and_both_membership_labels() -> None:
    cluster = Cluster(node("n1", EDGE), node("n2", {"region": "shanghai"}))
    beijing = selecting(
        "beijing", EDGE, labels={"tier": "edge"}, annotations={"note": "x"}, taints=["a=b:NoSchedule"]
    )
    cluster.settle(beijing)
    n1 = cluster.nodes["n1"]
    assert n1.metadata.labels == {
        **EDGE,
        "tier": "edge",
        NODE_GROUP_LABEL: "beijing",
        f"{NODE_GROUP_MEMBER_PREFIX}beijing": "",
    }
    assert n1.metadata.annotations["note"] == "x"
    assert n1.spec.taints == (Taint(key="a", value="b", effect="NoSchedule"),)
    assert cluster.nodes["n2"] == node("n2", {"region": "shanghai"})


def test_a_node_that_leaves_keeps_everything_that_others_set() -> None:
    theirs = Taint(key="dedicated", value="gpu", effect="NoExecute", time_added="2026-01-01T00:00:00Z")
    before = node("n1", {**EDGE, "owner": "team-a"}, theirs)
    cluster = Cluster(before)
    template: dict[str, Any] = {"labels": {"tier": "edge"}, "taints": ["a:NoSchedule"]}
    cluster.settle(selecting("beijing", EDGE, **template))
    assert len(cluster.nodes["n1"].spec.taints) == 2
    cluster.settle(selecting("beijing", {"region": "elsewhere"}, **template))
    assert cluster.nodes["n1"] == before


def test_a_taint_that_was_there_before_stays_when_the_node_leaves() -> None:
    theirs = Taint(key="a", value="", effect="NoSchedule")
    cluster = Cluster(node("n1", EDGE, theirs))
    cluster.settle(selecting("beijing", EDGE, taints=["a:NoSchedule"]))
    cluster.settle()
    assert cluster.nodes["n1"].spec.taints == (theirs,)


def test_a_changed_taint_replaces_the_one_we_set() -> None:
    cluster = Cluster(node("n1", EDGE))
    cluster.settle(selecting("beijing", EDGE, taints=["a=1:NoSchedule", "b:NoExecute"]))
    cluster.settle(selecting("beijing", EDGE, taints=["a=2:NoSchedule"]))
    assert cluster.nodes["n1"].spec.taints == (Taint(key="a", value="2", effect="NoSchedule"),)


def test_a_label_set_by_a_person_makes_a_member_and_is_never_taken_away() -> None:
    before = node("n1", {NODE_GROUP_LABEL: "beijing"})
    cluster = Cluster(before)
    cluster.settle(group("beijing", template={"labels": {"tier": "edge"}}))
    assert cluster.nodes["n1"].metadata.labels["tier"] == "edge"
    assert PRIMARY_ANNOTATION not in cluster.nodes["n1"].metadata.annotations
    cluster.settle()
    assert cluster.nodes["n1"] == before


def test_the_label_that_the_platform_set_does_not_hold_a_node_in_the_group() -> None:
    cluster = Cluster(node("n1", EDGE))
    cluster.settle(selecting("beijing", EDGE))
    assert cluster.nodes["n1"].metadata.labels[NODE_GROUP_LABEL] == "beijing"
    cluster.settle(selecting("beijing", {"region": "elsewhere"}))
    assert cluster.nodes["n1"] == node("n1", EDGE)


def test_a_group_being_deleted_gives_its_nodes_back() -> None:
    cluster = Cluster(node("n1", EDGE))
    cluster.settle(selecting("beijing", EDGE, labels={"tier": "edge"}))
    cluster.settle(group("beijing", deleted=True, selector={"matchLabels": EDGE}))
    assert cluster.nodes["n1"] == node("n1", EDGE)


def test_the_older_of_two_groups_wins_and_the_younger_is_told() -> None:
    older = selecting("older", EDGE, age=1, labels={"tier": "gold"}, taints=["t=1:NoSchedule"])
    younger = selecting("younger", EDGE, age=2, labels={"tier": "tin"}, taints=["t=2:NoSchedule"])
    cluster = Cluster(node("n1", EDGE))
    cluster.settle(younger, older)
    n1 = cluster.nodes["n1"]
    assert n1.metadata.labels["tier"] == "gold"
    assert n1.metadata.labels[NODE_GROUP_LABEL] == "older"
    assert [taint.value for taint in n1.spec.taints] == ["1"]
    groups = (older, younger)
    assert status_of(older, groups, [n1]).phase == "Active"
    status = status_of(younger, groups, [n1])
    assert status.phase == "Degraded"
    assert "label tier on node n1 is set by older group older" in status.conditions[1].message
    assert "taint t:NoSchedule" in status.conditions[1].message


def test_counts_are_of_members_and_of_ready_members() -> None:
    nodes = [node("n1", EDGE), node("n2", EDGE, ready=False), node("n3")]
    assert counts(selecting("beijing", EDGE), nodes) == {
        "theriseunion.io/node-count": "2",
        "theriseunion.io/ready-node-count": "1",
    }


def test_an_empty_selector_takes_no_node() -> None:
    assert Cluster(node("n1", EDGE)).carry_out(group("all")) == ()


labels = st.dictionaries(
    st.sampled_from(["region", "tier", "owner"]), st.sampled_from(["a", "b"]), max_size=3
)
taint_texts = st.lists(st.sampled_from(["x=1:NoSchedule", "x=2:NoExecute", "y:NoSchedule"]), unique=True)


@st.composite
def some_groups(draw: st.DrawFn) -> list[NodeGroup]:
    names = draw(st.lists(st.sampled_from(["g1", "g2", "g3"]), unique=True))
    values = st.sampled_from(["a", "b"])
    return [
        selecting(
            name,
            draw(st.dictionaries(st.sampled_from(["region", "owner"]), values, max_size=2)),
            age=draw(st.integers(0, 5)),
            labels=draw(st.dictionaries(st.sampled_from(["tier", "extra"]), values, max_size=2)),
            taints=draw(taint_texts),
        )
        for name in names
    ]


groups = some_groups()
foreign = st.lists(st.sampled_from(["z=9:NoSchedule", "y:NoSchedule"]), unique=True)


@given(have=labels, taints=foreign, first=groups, second=groups)
def test_whatever_the_groups_were_a_node_without_groups_is_as_it_was(
    have: dict[str, str], taints: list[str], first: list[NodeGroup], second: list[NodeGroup]
) -> None:
    before = node("n1", {key: value for key, value in have.items() if key != "tier"}, *map(taint, taints))
    cluster = Cluster(before)
    cluster.settle(*first)
    cluster.settle(*second)
    cluster.settle()
    after = cluster.nodes["n1"]
    assert after.metadata == before.metadata
    assert set(after.spec.taints) == set(before.spec.taints)


@given(have=labels, wanted=groups)
def test_the_order_in_which_groups_are_read_does_not_matter(
    have: dict[str, str], wanted: list[NodeGroup]
) -> None:
    nodes = [node("n1", have)]
    assert plan_nodes(wanted, nodes) == plan_nodes(wanted[::-1], nodes)


def taint(text: str) -> Taint:
    rest, _, effect = text.partition(":")
    key, _, value = rest.partition("=")
    return Taint(key=key, value=value, effect=effect)
