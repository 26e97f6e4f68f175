"""A museum in this process, over a temporary folder."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from edge.museum.server import build
from edge.museum.settings import Settings

Start = Callable[..., Awaitable[TestClient[Any, Any]]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """start(**settings) → client of a museum whose volume is tmp_path/charts."""
    clients: list[TestClient[Any, Any]] = []

    async def begin(**settings: Any) -> TestClient[Any, Any]:
        given = Settings(
            storage_local_rootdir=tmp_path / "charts",
            storage_preloaded_rootdir=tmp_path / "preloaded",
            **settings,
        )
        client = TestClient(TestServer(build(given)))
        await client.start_server()
        clients.append(client)
        return client

    yield begin
    for client in clients:
        await client.close()
