"""The overview: how all is, of what the caller may see, and live (G3, I15; console §5.6)."""

import secrets

from tests.apiserver.gateway.test_watch_rights import eventually
from tests.support.gateway import RunningGateway, somebody
from tests.support.watching import watching
from tests.support.workspaces import Tenant

from edge.apps.types import ApplicationDeployment, ApplicationDeploymentSpec
from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.meta import Key, ObjectMeta

OVERVIEW = "/oapis/console.theriseunion.io/v1alpha1/overview"


async def deploy(kube: Client, namespace: str, name: str, phase: str) -> None:
    spec = ApplicationDeploymentSpec(application="shop", version="latest")
    meta = ObjectMeta(name=name, namespace=namespace)
    await kube.create(ApplicationDeployment(metadata=meta, spec=spec), manager="test")
    await kube.merge(ApplicationDeployment, Key(namespace, name), {"status": {"phase": phase}}, sub="status")


async def test_an_overview_counts_what_the_caller_may_see_and_nothing_else(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    mine, theirs = f"mine-{secrets.token_hex(3)}", f"theirs-{secrets.token_hex(3)}"
    await deploy(kube, tenant.namespaces[0], mine, "Failed")
    await deploy(kube, "edge-system", theirs, "Failed")
    token, admin = await gateway.token(tenant.user), await gateway.token()

    async def troubles(token: str, scope: str = "") -> list[str]:
        found = (await gateway.get(f"{OVERVIEW}?scope={scope}", token=token)).json()
        names = [one["ref"]["name"] for one in found["problems"]]
        return sorted(one for one in names if one in (mine, theirs))

    await eventually(lambda: troubles(admin), sorted((mine, theirs)))
    assert await troubles(token) == [mine]
    assert await troubles(admin, f"workspace/{tenant.workspace}") == [mine]
    found = (await gateway.get(OVERVIEW, token=token)).json()
    assert found["deployments"] == {"total": 1, "byState": {"Failed": 1}}
    assert found["problemCount"] == 1
    assert (found["scope"], found["alerts"]) == ("platform", None)
    for kind in (ApplicationDeployment,):
        await kube.delete(kind, theirs, "edge-system")
        await kube.delete(kind, mine, tenant.namespaces[0])


async def test_an_overview_of_no_scope_is_refused_and_an_unchanged_one_is_not_sent_again(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    refused = await gateway.get(f"{OVERVIEW}?scope=nothing/x/y/z", token=token)
    assert (refused.status, refused.json()["edge"]["code"]) == (400, "BadScope")
    first = await gateway.get(OVERVIEW, token=token)
    again = await gateway.get(OVERVIEW, token=token, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status, again.status, again.body) == (200, 304, b"")
    assert (await gateway.ask("POST", OVERVIEW, token=token)).status == 405
    stranger = await somebody(gateway, kube)
    nobody = await gateway.get(OVERVIEW, token=await gateway.token(stranger))
    assert nobody.status == 403


async def test_an_overview_lives_on_the_socket_and_follows_rights(
    gateway: RunningGateway, kube: Client, tenant: Tenant
) -> None:
    cluster = f"c-{secrets.token_hex(3)}"
    async with (
        watching(gateway, await gateway.token()) as all_of_it,
        watching(gateway, await gateway.token(tenant.user)) as part,
    ):
        whole, mine = await all_of_it.sub({"overview": {}}), await part.sub({"overview": {}})
        await all_of_it.until(lambda: whole.overview)
        await part.until(lambda: mine.overview)
        before = whole.overview["clusters"]["total"]
        await kube.create(Cluster(metadata=ObjectMeta(name=cluster)), manager="test")
        await all_of_it.until(lambda: whole.overview["clusters"]["total"] == before + 1)
        await kube.merge(Cluster, Key("", cluster), {"status": {"phase": "Offline"}}, sub="status")
        await all_of_it.until(lambda: [cluster, "o", None, None, None] in whole.overview["tiles"])
        await deploy(kube, tenant.namespaces[0], "live", "Ready")
        await part.until(lambda: mine.overview["deployments"]["byState"] == {"Ready": 1})
        assert cluster not in {tile[0] for tile in mine.overview["tiles"]}
        await kube.delete(Cluster, cluster)
        await all_of_it.until(lambda: whole.overview["clusters"]["total"] == before)
        await tenant.unbind()
        await part.until(lambda: mine.ended)
        assert mine.ended == "Forbidden"
        bad = await all_of_it.sub({"overview": {"scope": "nothing/x/y/z"}})
        resumed = await all_of_it.sub({"overview": {}}, have=whole)
        await all_of_it.until(lambda: bad.ended and all_of_it.seen("same"))
        assert bad.ended == "BadRequest"
        assert all_of_it.seen("same")[0]["id"] == all_of_it.id_of(resumed)
