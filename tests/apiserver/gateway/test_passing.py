"""What Kubernetes says comes through as it said it, and what belongs to one cluster stays there (G1, G12).

Headers and ends of answers, before a real API server or before a listener that stands for a member.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from tests.apiserver.gateway.test_smuggling import CLUSTERS, cluster_at
from tests.support.gateway import RunningGateway
from tests.support.upstreams import Shop, raw_server, shop

from edge.apiserver import upstream
from edge.clusters.types import Cluster
from edge_kube.client import Client

PROXY = "/api/v1/namespaces/a/services/web/proxy"


@asynccontextmanager
async def joined(gateway: RunningGateway, kube: Client, name: str, port: int) -> AsyncGenerator[str]:
    """A member at this port for the time of the block; where it is in the gateway."""
    await kube.create(cluster_at(name, port), manager="test")
    try:
        await gateway.until(f"{CLUSTERS}/{name}", 200, token=await gateway.token())
        yield f"/clusters/{name}"
    finally:
        await kube.delete(Cluster, name)


@asynccontextmanager
async def member_shop(gateway: RunningGateway, kube: Client, name: str) -> AsyncGenerator[tuple[Shop, str]]:
    async with shop() as made, joined(gateway, kube, name, made.port) as base:
        yield made, base


async def test_every_warning_of_the_api_server_arrives(gateway: RunningGateway) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "warned"},
        "first": "unknown",
        "second": "unknown",
    }
    path = "/api/v1/namespaces/default/configmaps?fieldValidation=Warn&dryRun=All"
    answer = await gateway.ask("POST", path, token=await gateway.token(), json=body)
    assert answer.status == 201
    warnings = [value for name, value in answer.headers.items() if name == "Warning"]
    assert [field for field in ("first", "second") if field in " ".join(warnings)] == ["first", "second"]


async def test_a_head_tells_the_length_of_what_a_get_brings(gateway: RunningGateway, kube: Client) -> None:
    token = await gateway.token()
    async with member_shop(gateway, kube, "headed") as (made, base):
        made.answers[f"{PROXY}/page"] = (200, {"Content-Type": "text/plain"}, b"x" * 1234)
        answer = await gateway.ask("HEAD", f"{base}{PROXY}/page", token=token)
        assert (answer.status, answer.headers["Content-Length"], answer.body) == (200, "1234", b"")
