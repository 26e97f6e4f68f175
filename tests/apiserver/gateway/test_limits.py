"""Limits as callers meet them: in turns, shared by replicas, and those of the API server (G4, G10)."""

import asyncio
from typing import Any

import pytest
from tests.support.gateway import IAM, PATIENCE_S, USERS, RunningGateway

from edge.apiserver.configuration.reading import read_settings
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import Canned, FaultProxy

ME = f"{IAM}/me"
SLICE: dict[str, Any] = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "name": "edge-apiserver-abc",
        "namespace": "edge-system",
        "labels": {"kubernetes.io/service-name": "edge-apiserver"},
    },
    "addressType": "IPv4",
    "endpoints": [{"addresses": [f"10.0.0.{n}"], "conditions": {"ready": n < 4}} for n in (1, 2, 3, 4)],
}


async def replicas_become(gateway: RunningGateway, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while gateway.server.replicas.count != count:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.02)


async def test_a_greedy_caller_delays_himself_and_nobody_else(gateway_cluster: LightCluster) -> None:
    limits = {"rateLimit.qps": "2", "rateLimit.burst": "10", "rateLimit.maxDelay": "600s"}
    async with RunningGateway(gateway_cluster.connection, limits) as gateway:
        greedy, modest = await gateway.token("admin"), await gateway.token("ada")
        served: list[str] = []

        async def ask(name: str, token: str) -> None:
            assert (await gateway.get(ME, token=token)).status == 200
            served.append(name)

        flood = [asyncio.create_task(ask("greedy", greedy)) for _ in range(60)]
        async with asyncio.timeout(PATIENCE_S):
            while len(served) < 10:  # noqa: ASYNC110 - the burst is used up; two a second from now on
                await asyncio.sleep(0.01)
            before = len(served)
            await ask("modest", modest)
        # Fifty of the greedy one's wait, which is 25 seconds' worth; the other one waits for a turn or two.
        assert served[before:].index("modest") <= 10
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_replicas_share_the_limits_by_the_endpoints_that_are_ready(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    limits = {"rateLimit.qps": "30", "rateLimit.burst": "30", "rateLimit.maxDelay": "10ms"}
    async with RunningGateway(gateway_cluster.connection, limits) as gateway:
        await kube.create(SLICE, manager="test")
        try:
            await replicas_become(gateway, 3)
            token = await gateway.token()
            answers = await asyncio.gather(*(gateway.get(ME, token=token) for _ in range(60)))
            refused = [answer.json()["message"] for answer in answers if answer.status == 429]
            assert refused
            assert "10 requests a second" in refused[0]
        finally:
            gateway_cluster.kubectl("delete", "endpointslice", "edge-apiserver-abc", "-n", "edge-system")
        await replicas_become(gateway, 1)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_api_servers_own_429_passes_as_it_is_and_is_not_tried_again(
    gateway_cluster: LightCluster, method: str
) -> None:
    path = "/api/v1/namespaces/default/configmaps/none"
    async with FaultProxy(gateway_cluster.connection) as proxy, RunningGateway(proxy.connection) as gateway:
        token = await gateway.token()
        busy = Canned(429, b'{"kind":"Status","code":429}', {"Retry-After": "7"})
        proxy.answer(busy, to=lambda request: request.path == path)
        answer = await gateway.ask(method, path, token=token)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        assert answer.json() == {"kind": "Status", "code": 429}
        assert (await gateway.ask(method, path, token=token)).status == 404


async def test_a_request_that_takes_too_long_is_504_and_says_when_to_try_again(
    gateway: RunningGateway, gateway_cluster: LightCluster
) -> None:
    token = await gateway.token()  # where a sign-in has more than a second
    async with RunningGateway(gateway_cluster.connection, {"server.requestTimeout": "1s"}) as hasty:
        gateway_cluster.pause_apiserver()
        try:
            answer = await hasty.get("/api/v1/namespaces", token=token)
        finally:
            gateway_cluster.resume_apiserver()
        edge = answer.json()["edge"]
        assert (answer.status, edge["code"], edge["retryAfterSeconds"]) == (504, "UpstreamTimeout", 1)
        assert answer.json()["reason"] == "Timeout"
        assert edge["next"] == [{"kind": "retry", "value": "1", "label": answer.json()["details"]["do"]}]
        assert answer.headers["Retry-After"] == "1"


async def test_both_ports_serve_health_version_and_metrics(gateway_cluster: LightCluster) -> None:
    assert [port for _, port in read_settings(file=None, environ={}, flags={}).binds] == [9090, 8080]
    async with RunningGateway(gateway_cluster.connection) as gateway:
        for path in ("/oapis/version", "/healthz", "/readyz", "/health", "/livez", "/metrics"):
            assert (await gateway.get(path)).status == 200, path
        assert (await gateway.get(USERS)).status == 401
