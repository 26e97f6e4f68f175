"""Member clusters through /clusters/NAME: in the caller's name, or a 503 that names the cluster (C9, G1)."""

import asyncio
import base64
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from tests.support.gateway import IAM, Answer, RunningGateway, make_user
from tests.support.projected import binding

from edge.clusters.types import Cluster
from edge_kube.client import Client
from edge_kube.core import Namespace
from edge_kube.harness import LightCluster
from edge_kube.meta import Key, ObjectMeta

CLUSTERS = "/oapis/tenant/v1alpha1/clusters"


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[LightCluster]:
    with LightCluster() as cluster:
        cluster.kubectl("create", "namespace", "only-here")
        cluster.kubectl(
            *("create", "clusterrolebinding", "edge-platform-admins"),
            *("--clusterrole=cluster-admin", "--group=edge:platform-admins"),
        )
        yield cluster


def manifest(name: str, kubeconfig: str | bytes | None) -> dict[str, Any]:
    content = kubeconfig.encode() if isinstance(kubeconfig, str) else kubeconfig
    connection = {"type": "direct"} | (
        {"kubeconfig": base64.b64encode(content).decode()} if content is not None else {}
    )
    return {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"connection": connection},
    }


def pointing_at(server: str) -> str:
    return yaml.safe_dump(
        {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
    )


REMOTE = pointing_at("https://10.0.0.1")


@pytest_asyncio.fixture
async def east(
    kube: Client, gateway: RunningGateway, other_cluster: LightCluster
) -> AsyncIterator[RunningGateway]:
    await kube.create(manifest("east", other_cluster.kubeconfig.read_bytes()), manager="test")
    await gateway.until(f"{CLUSTERS}/east", 200, token=await gateway.token())
    yield gateway
    await kube.delete(Cluster, "east")


async def test_a_right_in_a_namespace_is_none_in_its_namesake_in_another_cluster(
    east: RunningGateway, kube: Client
) -> None:
    """Who is let through is refused by Kubernetes, whose sentence names the namespace, not a scope (S5)."""
    await make_user(kube, "wes")
    bound = binding("wes-in-default", "namespace-admin", "namespace", "default", "wes")
    await kube.create(bound, manager="test")
    await east.knows("wes")
    await east.until(f"{IAM}/iamrolebindings/wes-in-default", 200, token=await east.token())
    token = await east.token("wes")
    services = "/api/v1/namespaces/default/services"
    assert 'in the namespace "default"' in (await east.get(services, token=token)).json()["message"]
    there = await east.get(f"/clusters/east{services}", token=token)
    assert there.status == 403
    assert there.json()["message"].startswith(
        'User "wes" cannot list resource "services" in API group "" at cluster/east/namespace/default'
    )


async def test_kubectl_reaches_a_member_in_the_callers_name(east: RunningGateway) -> None:
    token = await east.token()
    assert "only-here" in await east.kubectl(token, "get", "namespaces", path="/clusters/east")
    assert "only-here" not in await east.kubectl(token, "get", "namespaces")
    who = json.loads(await east.kubectl(token, "auth", "whoami", "-o", "json", path="/clusters/east"))
    assert who["status"]["userInfo"]["username"] == "admin"
    assert "edge:platform-admins" in who["status"]["userInfo"]["groups"]
    assert "system:masters" not in who["status"]["userInfo"]["groups"]


async def test_the_host_is_a_cluster_too(east: RunningGateway) -> None:
    assert "edge-system" in await east.kubectl(await east.token(), "get", "ns", path="/clusters/host")


async def test_the_members_credential_is_shown_in_no_list(east: RunningGateway) -> None:
    token = await east.token()
    for path in (CLUSTERS, "/oapis/scope.theriseunion.io/v1alpha1/clusters"):
        assert b"kubeconfig" not in (await east.get(path, token=token)).body
    shown = await east.get(f"{CLUSTERS}/east", token=token)  # an admin holds clusters/kubeconfig
    assert "kubeconfig" in shown.json()["spec"]["connection"]


async def test_a_restricted_token_sees_no_kubeconfig(east: RunningGateway, kube: Client) -> None:
    await make_user(kube, "newcomer", admin=True, must_change=True)
    await east.knows("newcomer", admin=True)
    token = await east.token("newcomer")
    for path in (f"{CLUSTERS}/east", "/apis/scope.theriseunion.io/v1alpha1/clusters/east"):
        answer = await east.get(path, token=token)
        assert answer.status == 200
        assert b"kubeconfig" not in answer.body


async def test_a_dead_member_is_answered_for_at_once_by_name(gateway: RunningGateway, kube: Client) -> None:
    await kube.create(manifest("dead", pointing_at("https://127.0.0.1:1")), manager="test")
    token = await gateway.token()
    await gateway.until(f"{CLUSTERS}/dead", 200, token=token)
    answers, took_s = list[Answer](), list[float]()
    for _ in range(20):
        start = time.perf_counter()
        answers.append(await gateway.get("/clusters/dead/api/v1/pods", token=token))
        took_s.append(time.perf_counter() - start)
    assert min(took_s) < 1, "a second each would be too much"
    for answer in answers:
        assert (answer.status, answer.json()["edge"]["code"]) == (503, "ClusterUnreachable")
        assert 'Cluster "dead" does not answer since' in answer.json()["message"]
        assert "Retry-After" in answer.headers
    assert (await gateway.get("/clusters/host/api/v1/namespaces", token=token)).status == 200
    await kube.delete(Cluster, "dead")


@pytest.mark.parametrize(
    ("name", "kubeconfig", "why"),
    [
        ("nothing", None, "no kubeconfig yet"),
        ("no-yaml", "{: : :", "no valid YAML"),
        (
            "exec",
            pointing_at("https://10.0.0.1").replace("token: t", "exec: {command: sh}"),
            "runs a program",
        ),
        ("metadata", pointing_at("http://169.254.169.254"), "an address that no cluster has"),
        (
            "file",
            pointing_at("https://10.0.0.1").replace("token: t", "tokenFile: /etc/passwd"),
            "/etc/passwd",
        ),
    ],
)
async def test_a_member_with_a_bad_kubeconfig_says_what_is_wrong(
    gateway: RunningGateway, kube: Client, name: str, kubeconfig: str | None, why: str
) -> None:
    await kube.create(manifest(name, kubeconfig), manager="test")
    token = await gateway.token()
    await gateway.until(f"{CLUSTERS}/{name}", 200, token=token)
    answer = await gateway.get(f"/clusters/{name}/api/v1/pods", token=token)
    assert answer.status == 503
    assert name in answer.json()["message"]
    assert why in answer.json()["message"]
    await kube.delete(Cluster, name)


async def test_loopback_members_are_refused_unless_the_installation_says_so(
    gateway_cluster: LightCluster, kube: Client, other_cluster: LightCluster
) -> None:
    await kube.create(manifest("inside", other_cluster.kubeconfig.read_bytes()), manager="test")
    async with RunningGateway(gateway_cluster.connection, {"server.loopbackMembers": "false"}) as gateway:
        token = await gateway.token()
        await gateway.until(f"{CLUSTERS}/inside", 200, token=token)
        answer = await gateway.get("/clusters/inside/api/v1/pods", token=token)
        assert "an address that no cluster has" in answer.json()["message"]
    await kube.delete(Cluster, "inside")


async def test_an_unknown_cluster_is_404_and_a_changed_kubeconfig_is_taken_up(
    gateway: RunningGateway, kube: Client, other_cluster: LightCluster
) -> None:
    token = await gateway.token()
    assert (await gateway.get("/clusters/nowhere/api/v1/pods", token=token)).status == 404
    await kube.create(manifest("moves", pointing_at("https://127.0.0.1:1")), manager="test")
    await gateway.until(f"{CLUSTERS}/moves", 200, token=token)
    assert (await gateway.get("/clusters/moves/api/v1/namespaces", token=token)).status == 503
    changed = manifest("moves", other_cluster.kubeconfig.read_bytes())["spec"]
    await kube.merge(Cluster, Key("", "moves"), {"spec": changed})
    await gateway.until("/clusters/moves/api/v1/namespaces", 200, token=token)
    await kube.delete(Cluster, "moves")


WATCH = "/api/v1/namespaces?watch=1&resourceVersion=0"
ORIGIN = "http://localhost"  # Kubernetes refuses a web socket without one


@pytest.mark.parametrize("change", ["deleted", "moved"])
async def test_a_member_that_leaves_ends_its_watches_and_shells_at_once_and_no_others(
    gateway: RunningGateway,
    kube: Client,
    other_cluster: LightCluster,
    gateway_cluster: LightCluster,
    change: str,
) -> None:
    """A watch over a WebSocket is spliced as a shell is; the API servers are real ones."""
    name = f"leaves-{secrets.token_hex(3)}"
    await kube.create(manifest(name, other_cluster.kubeconfig.read_bytes()), manager="test")
    token = await gateway.token()
    await gateway.until(f"{CLUSTERS}/{name}", 200, token=token)
    headers, there = {"Authorization": f"Bearer {token}"}, f"/clusters/{name}{WATCH}"
    async with (
        gateway.session.get(f"{gateway.url}{WATCH}", headers=headers) as of_host,
        gateway.session.get(f"{gateway.url}{there}", headers=headers) as watch,
        gateway.session.ws_connect(
            f"ws://127.0.0.1:{gateway.port}{there}", headers=headers, origin=ORIGIN
        ) as shell,
    ):
        await asyncio.gather(of_host.content.readline(), watch.content.readline(), shell.receive())
        if change == "moved":
            elsewhere = manifest(name, gateway_cluster.kubeconfig.read_bytes())["spec"]
            await kube.merge(Cluster, Key("", name), {"spec": elsewhere})
        else:
            await kube.delete(Cluster, name)
        async with asyncio.timeout(30):
            with contextlib.suppress(aiohttp.ClientPayloadError):
                await watch.content.read(-1)
            async for _ in shell:
                pass
        await kube.create(Namespace(metadata=ObjectMeta(name=f"after-{name}")), manager="test")
        async with asyncio.timeout(30):
            while f'"after-{name}"'.encode() not in await of_host.content.readline():
                pass
    if change == "moved":
        await gateway.until(f"/clusters/{name}/api/v1/namespaces/edge-system", 200, token=token)
        await kube.delete(Cluster, name)
