"""The document and its page as the gateway serves them (G2)."""

import gzip
import json

import pytest
from tests.support.gateway import RunningGateway

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.openapi import operations
from edge.apiserver.openapi.operation import UndescribedError
from edge.apiserver.openapi.routes import document_bytes
from edge.apiserver.server import ApiServer
from edge_kube.harness import LightCluster


async def test_the_document_and_its_page_need_no_token_and_nothing_from_elsewhere(
    gateway: RunningGateway,
) -> None:
    answer = await gateway.get("/oapis/openapi.json")
    assert (answer.status, answer.json()) == (200, json.loads(document_bytes()))
    zipped = await gateway.get("/kapis/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(zipped.body) == answer.body
    again = await gateway.get("/oapis/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    shown = await gateway.get("/oapis/docs")
    assert shown.status == 200
    assert shown.headers["Content-Type"].startswith("text/html")
    policy = shown.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert b"Edge Platform API" in shown.body


async def test_a_gateway_with_a_route_that_is_not_described_does_not_start(
    gateway_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuple(one for one in operations.own_operations() if one.path != "/readyz")
    monkeypatch.setattr("edge.apiserver.wiring.serving.own_operations", lambda: kept)
    settings = read_settings(file=None, environ={}, flags={"server.bindAddress": "127.0.0.1:0"})
    server = ApiServer(gateway_cluster.connection, settings)
    try:
        with pytest.raises(UndescribedError, match="GET /readyz"):
            await server.start()
    finally:
        await server.stop()


async def test_an_own_route_that_is_not_described_is_not_served(
    gateway_cluster: LightCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuple(one for one in operations.own_operations() if not one.path.endswith("/me/scopes"))
    monkeypatch.setattr("edge.apiserver.wiring.serving.own_operations", lambda: kept)
    async with RunningGateway(gateway_cluster.connection) as running:
        token = await running.token()
        answer = await running.get("/oapis/iam.theriseunion.io/v1alpha1/me/scopes", token=token)
        assert answer.status == 500
        assert (await running.get("/oapis/iam/v1alpha1/me", token=token)).status == 200
