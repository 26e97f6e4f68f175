"""Signing in, refreshing and watching, as a client does it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.support.gateway import CLIENT, IAM, Answer, RunningGateway

from edge_kube.config import Connection

ME = f"{IAM}/me"
MINE = f"{IAM}/me/sessions"
NAMESPACES = "/api/v1/namespaces"


async def refresh(gateway: RunningGateway, token: str, **form: str) -> Answer:
    fields = {"grant_type": "refresh_token", "refresh_token": token, **CLIENT, **form}
    return await gateway.ask("POST", "/oauth/token", data=fields)


async def tokens(gateway: RunningGateway, name: str = "admin", **form: str) -> dict[str, Any]:
    answer = await gateway.sign_in(name, **form)
    assert answer.status == 200, answer.body
    return answer.json()


async def status(gateway: RunningGateway, token: str) -> int:
    return (await gateway.get(ME, token=token)).status


async def sessions_of(gateway: RunningGateway, user: str, field: str = "id") -> list[str]:
    """That field of each session of a user, as an administrator is shown them."""
    found = await gateway.get(f"{IAM}/users/{user}/sessions", token=await gateway.token())
    return [one[field] for one in found.json()["items"]]


@asynccontextmanager
async def replicas(
    connection: Connection, number: int, settings: dict[str, str] | None = None
) -> AsyncGenerator[list[RunningGateway]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(RunningGateway(connection, settings)) for _ in range(number)]


@asynccontextmanager
async def watching(
    gateways: Sequence[RunningGateway], token: str
) -> "AsyncGenerator[list[asyncio.Task[float]]]":
    """An open watch on each; the tasks end with the time.perf_counter() at which the watch did."""
    begun = [asyncio.Event() for _ in gateways]
    tasks = [
        asyncio.create_task(_watch(gateway, token, event))
        for gateway, event in zip(gateways, begun, strict=True)
    ]
    async with asyncio.timeout(60):
        for event in begun:
            await event.wait()
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(gateway: RunningGateway, token: str, begun: asyncio.Event) -> float:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{gateway.url}{NAMESPACES}?watch=1"
    async with gateway.session.get(url, headers=headers) as response:
        assert response.status == 200
        try:
            async for _ in response.content.iter_any():
                begun.set()
        except Exception:  # noqa: S110 - a cut is an end too
            pass
    return time.perf_counter()
