"""What lies in a scope may change while somebody looks at it (I1; console §5.3, §5.4, §5.6).

Somebody whose rights hold everywhere: those who administer the scope alone get other rights with it.
"""

import secrets

from tests.support.gateway import RunningGateway
from tests.support.lines import joined
from tests.support.watching import rows, watching
from tests.support.workspaces import Tenant

from edge_kube.client import Client
from edge_kube.core import ConfigMap, Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, ObjectMeta
from edge_sdk.scopes import WORKSPACE_LABEL


async def test_a_namespace_that_joins_a_workspace_or_leaves_it_does_so_in_its_windows(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    other = f"joins-{secrets.token_hex(3)}"
    await kube.create(Namespace(metadata=ObjectMeta(name=other)), manager="test")
    for namespace in (other, tenant.namespaces[0]):
        meta = ObjectMeta(name=f"in-{namespace}", namespace=namespace)
        await kube.create(ConfigMap(metadata=meta), manager="test")
    inside = {"group": "", "version": "v1", "scope": f"workspace/{tenant.workspace}"}
    async with watching(gateway, await gateway.token()) as watcher:
        spaces = await watcher.sub(rows("namespaces", **inside))
        maps = await watcher.sub(rows("configmaps", q="in-", **inside))
        await watcher.until(lambda: spaces.hash and maps.hash)
        assert (spaces.total, maps.names) == (2, [f"in-{tenant.namespaces[0]}"])
        joins = {"metadata": {"labels": {WORKSPACE_LABEL: tenant.workspace}}}
        await kube.merge(Namespace, Key("", other), joins)
        await watcher.until(lambda: spaces.total == 3 and maps.total == 2)
        assert maps.pending["added"] == 1
        leaves = {"metadata": {"labels": {WORKSPACE_LABEL: None}}}
        await kube.merge(Namespace, Key("", tenant.namespaces[0]), leaves)
        await watcher.until(lambda: spaces.total == 2 and maps.total == 1)
        await watcher.send("mod", id=watcher.id_of(maps), apply=True)
        await watcher.until(lambda: maps.names == [f"in-{other}"])


async def test_an_overview_of_a_workspace_counts_what_joins_it(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    name = f"joins-{secrets.token_hex(3)}"
    await kube.create(Namespace(metadata=ObjectMeta(name=name)), manager="test")
    deployment = {
        "apiVersion": "app.theriseunion.io/v1alpha1",
        "kind": "ApplicationDeployment",
        "metadata": {"name": "shop", "namespace": name},
        "spec": {"application": "shop", "version": "latest"},
    }
    await kube.create(deployment, manager="test")

    async with watching(gateway, await gateway.token()) as watcher:
        model = await watcher.sub({"overview": {"scope": f"workspace/{tenant.workspace}"}})
        await watcher.until(lambda: model.overview)
        assert model.overview["deployments"]["total"] == 0
        joins = {"metadata": {"labels": {WORKSPACE_LABEL: tenant.workspace}}}
        await kube.merge(Namespace, Key("", name), joins)
        await watcher.until(lambda: model.overview["deployments"]["total"] == 1)
        await kube.merge(Namespace, Key("", name), {"metadata": {"labels": {WORKSPACE_LABEL: None}}})
        await watcher.until(lambda: model.overview["deployments"]["total"] == 0)


async def test_a_scope_in_a_member_is_looked_at_there(
    gateway: RunningGateway, kube: Client, member_cluster: LightCluster
) -> None:
    """As lists of rows have it: no cluster needs to be named beside it."""
    name = f"far-{secrets.token_hex(3)}"
    async with (
        joined(gateway, kube, member_cluster, name),
        watching(gateway, await gateway.token()) as watcher,
    ):
        there = await watcher.sub(rows("namespaces", group="", version="v1", scope=f"cluster/{name}"))
        every = {"group": "", "version": "v1", "cluster": "*", "scope": f"cluster/{name}"}
        of_all = await watcher.sub(rows("namespaces", **every))
        await watcher.until(lambda: "default" in there.names and "default" in of_all.names)
        for model in (there, of_all):
            assert {row["n"][2] for row in model.rows.values()} == {name}
