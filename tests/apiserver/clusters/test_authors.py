"""Who may make a Cluster stand for the host: its groups and deployments would act there (I2, I15; S6)."""

import pytest
from tests.support.admitted import Admitted, bound, user
from tests.support.tenants import PlayedMembers, PlayedStores

from edge.clusters.room import room
from edge.clusters.settings import ClusterSettings
from edge.clusters.types import Cluster, ClusterSpec
from edge_kube.errors import Forbidden
from edge_kube.harness import Kube
from edge_kube.meta import Key, Manifest, ObjectMeta
from edge_sdk.scopes import HOST_ROLE

DOUBLE: Manifest = {"metadata": {"labels": {HOST_ROLE[0]: HOST_ROLE[1]}}}
REFUSED = "makes it stand for the host; it needs update on clusters at cluster/host"


async def test_S6_who_administers_one_cluster_does_not_make_it_the_host(
    system: Kube, members: PlayedMembers, stores: PlayedStores
) -> None:
    admitted = await Admitted.begin(
        system, lambda grants: room(members, stores, ClusterSettings(), grants=grants)
    )
    for name in ("ann", "root"):
        await admitted.person(name)
    await system.create(bound("root-admin", "platform-admin", "platform", "global", user("root")))
    await admitted.knows("root", "p", "delete", "secrets")
    await admitted.may_write("ann", "root")
    held = ObjectMeta(name="orchard", finalizers=("example.io/held",))
    await system.create(Cluster(metadata=held, spec=ClusterSpec(type="physical")))
    ann, root, key = admitted.as_user("ann"), admitted.as_user("root"), Key("", "orchard")
    with pytest.raises(Forbidden, match=REFUSED):
        await ann.merge(Cluster, key, DOUBLE)
    new = Cluster(metadata=ObjectMeta(name="second", labels=dict([HOST_ROLE])), spec=ClusterSpec())
    with pytest.raises(Forbidden, match=REFUSED):
        await ann.create(new, manager="test")
    await ann.merge(Cluster, key, {"metadata": {"labels": {HOST_ROLE[0]: "member"}}})
    await root.merge(Cluster, key, DOUBLE)
    await root.merge(Cluster, key, {"metadata": {"labels": {HOST_ROLE[0]: None}}})
    await ann.delete(Cluster, "orchard")
    with pytest.raises(Forbidden, match=REFUSED):
        await ann.merge(Cluster, key, DOUBLE)
    await ann.merge(Cluster, key, {"metadata": {"finalizers": None}})
    await system.gone(Cluster, "orchard", within_s=60)
