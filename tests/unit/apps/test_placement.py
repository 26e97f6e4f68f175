"""From topologies to places: clusters, groups, identity, and topologies that name nothing (A5)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.apps.objects import cluster, deployment, group

from edge.apps.placement import World, expand

WORLD = World(
    groups={one.metadata.name: one for one in (group("beijing"), group("press", "factory"))},
    clusters={
        one.metadata.name: one
        for one in (cluster("factory", tier="edge"), cluster("mill", tier="edge"), cluster("office"))
    },
)


def places(*topologies: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(cluster, node group, node, reason) of each place."""
    found = expand(deployment("latest", *topologies), WORLD)
    return [(p.topology.cluster, p.topology.node_group, p.topology.node_name, p.reason) for p in found]


def test_a_group_stands_for_its_own_cluster() -> None:
    assert places({"nodeGroup": "beijing"}, {"nodeGroup": "press"}) == [
        ("", "beijing", "", ""),
        ("factory", "press", "", ""),
    ]


def test_a_selector_means_each_cluster_with_the_labels() -> None:
    assert places({"clusterSelector": {"matchLabels": {"tier": "edge"}}}) == [
        ("factory", "", "", ""),
        ("mill", "", "", ""),
    ]


def test_a_node_and_a_cluster_are_places_too() -> None:
    assert places({"nodeName": "n1"}, {"cluster": "mill", "nodeName": "n1"}, {"cluster": "host"}) == [
        ("", "", "n1", ""),
        ("mill", "", "n1", ""),
        ("", "", "", ""),
    ]


@pytest.mark.parametrize(
    ("topology", "reason", "told"),
    [
        (
            {"nodeGroup": "paint"},
            "UnknownNodeGroup",
            'node group "paint" does not exist; there is beijing, press',
        ),
        (
            {"cluster": "moon"},
            "UnknownCluster",
            'cluster "moon" does not exist; there is factory, mill, office',
        ),
        ({"cluster": "mill", "nodeGroup": "press"}, "NodeGroupElsewhere", 'belongs to cluster "factory"'),
        ({"clusterSelector": {"matchLabels": {"tier": "moon"}}}, "NoClusterSelected", "label one"),
    ],
)
def test_a_topology_that_names_nothing_says_what_there_is(
    topology: dict[str, Any], reason: str, told: str
) -> None:
    good, bad = expand(deployment("latest", {"nodeGroup": "beijing"}, topology), WORLD)
    assert good.reason == ""
    assert bad.reason == reason
    assert told in bad.message
    assert "spec.topologies[1]" in bad.message


def test_a_place_named_twice_is_worked_on_once() -> None:
    first, second = expand(
        deployment("latest", {"cluster": "factory", "nodeGroup": "press"}, {"nodeGroup": "press"}), WORLD
    )
    assert (first.reason, second.reason) == ("", "DuplicateTopology")
    assert first.id != second.id


topologies = st.lists(
    st.sampled_from(
        [{"nodeGroup": "beijing"}, {"nodeGroup": "press"}, {"nodeName": "n1"}, {"cluster": "mill"}]
    ),
    unique_by=str,
)


@given(order=topologies, data=st.data())
def test_the_order_of_topologies_does_not_change_who_is_who(
    order: list[dict[str, str]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(order))
    one = {place.id: place.topology for place in expand(deployment("latest", *order), WORLD)}
    other = {place.id: place.topology for place in expand(deployment("latest", *shuffled), WORLD)}
    assert one == other
    assert len(one) == len(order)


@pytest.mark.parametrize(
    ("granted", "workspace", "reason"),
    [
        (None, "dev", ""),
        (None, "", ""),
        ("*", "", ""),
        ("qa, dev", "dev", ""),
        ("qa", "dev", "NodeGroupNotGranted"),
        ("", "dev", "NodeGroupNotGranted"),
        ("dev", "", "NodeGroupNotGranted"),
    ],
)
def test_a_group_serves_the_workspaces_that_it_is_granted_to(
    granted: str | None, workspace: str, reason: str
) -> None:
    """I18."""
    world = World(groups={"press": group("press", granted=granted)}, workspace=workspace)
    (place,) = expand(deployment("latest", {"nodeGroup": "press"}), world)
    assert place.reason == reason
    if reason:
        assert 'node group "press" is not granted' in place.message
        assert "theriseunion.io/granted-workspaces" in place.message


def test_places_without_a_group_stay_off_the_nodes_of_groups_that_were_not_granted() -> None:
    """I18: neither a node's name nor a whole cluster is a way round the grant."""
    groups = (
        group("mine", "factory", granted="dev"),
        group("open", "factory"),
        group("theirs", "factory", granted="qa"),
        group("elsewhere", granted="qa"),
        group("here", "main", granted="qa"),
    )
    clusters = {
        "factory": cluster("factory"),
        "main": cluster("main", **{"cluster.theriseunion.io/role": "host"}),
    }
    world = World(groups={one.metadata.name: one for one in groups}, clusters=clusters, workspace="dev")
    found = expand(
        deployment("latest", {"cluster": "factory"}, {"nodeName": "n1"}, {"nodeGroup": "mine"}), world
    )
    assert [place.barred for place in found] == [("theirs",), ("elsewhere", "here"), ()]
