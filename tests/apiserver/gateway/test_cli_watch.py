"""`edge get -w` goes on when its stream ends, and when the place in it is forgotten (issue 5 §2)."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.gateway import RunningGateway
from tests.support.person import Person
from tests.support.relay import Relay
from tests.support.workspaces import WORKSPACES, Tenant

from edge.iam.types import Category
from edge_kube.client import Client
from edge_kube.harness import LightCluster

WITHIN_S = 120


@asynccontextmanager
async def watching(person: Person, *words: str) -> AsyncGenerator[asyncio.StreamReader]:
    """Output of `edge get … -w`, which is interrupted in the end and leaves no traceback."""
    process = await person.start("get", *words, "-w")
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        _, err = await process.communicate()
        assert "Traceback" not in err.decode(), err.decode()


async def line_with(out: asyncio.StreamReader, text: str, seen: list[str]) -> str:
    """Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            line = (await out.readline()).decode()
            assert line, f"the command ended; it had said {seen}"
            seen.append(line)
            if text in line:
                return line


async def test_a_watch_goes_on_where_it_was_when_the_connection_is_cut(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    first, second, third = (f"shelf-{secrets.token_hex(3)}" for _ in range(3))
    shelf = {"apiVersion": "iam.theriseunion.io/v1alpha1", "kind": "Category", "spec": {"icon": "box"}}

    async def make(name: str) -> None:
        await kube.create({**shelf, "metadata": {"name": name}}, manager="test")

    async with Relay(gateway.port) as relay:
        person = Person(gateway, tmp_path, await gateway.token(), server=relay.url)
        for form in (("-o", "name"), ()):
            seen = list[str]()
            async with watching(person, "categories", *form) as out:
                await make(first)
                await line_with(out, first, seen)
                relay.cut()
                await make(second)
                await line_with(out, second, seen)
                relay.target = 1  # nobody listens there
                relay.cut()
                await make(third)
                opened = relay.opened
                async with asyncio.timeout(WITHIN_S):
                    while relay.opened < opened + 2:  # noqa: ASYNC110 - it happens in another process
                        await asyncio.sleep(0.02)
                relay.target = gateway.port
                await line_with(out, third, seen)
            for name in (first, second, third):
                assert sum(name in line for line in seen) == 1, "each is told once"
                await kube.delete(Category, name)


async def test_what_changed_meanwhile_is_told_when_the_place_is_not_known_any_more(
    gateway: RunningGateway, gateway_cluster: LightCluster, tenant: Tenant, tmp_path: Path
) -> None:
    """Another gateway knows no past of the part of a list that a tenant sees: 410, and the list again."""
    token = await gateway.token(tenant.user)

    def mark(text: str) -> None:
        gateway_cluster.kubectl("annotate", "workspace", tenant.workspace, "--overwrite", f"seen={text}")

    async with Relay(gateway.port) as relay:
        person = Person(gateway, tmp_path, token, server=relay.url)
        async with watching(person, "workspaces", "-o", "json") as out:
            await line_with(out, tenant.workspace, [])
            relay.target = 1
            relay.cut()
            mark("late")
            async with RunningGateway(gateway_cluster.connection) as other:
                await other.until(f"{WORKSPACES}/{tenant.workspace}", 200, token=token)
                relay.target = other.port
                told = json.loads(await line_with(out, tenant.workspace, []))
                assert told["metadata"]["annotations"]["seen"] == "late"
                mark("live")
                told = json.loads(await line_with(out, tenant.workspace, []))
                assert told["metadata"]["annotations"]["seen"] == "live"


async def test_a_watch_that_is_not_allowed_any_more_ends_and_says_so(
    gateway: RunningGateway, tenant: Tenant, tmp_path: Path
) -> None:
    person = Person(gateway, tmp_path, await gateway.token(tenant.user))
    process = await person.start("get", "pods", "-n", tenant.namespaces[0], "-w")
    assert process.stderr is not None
    await asyncio.sleep(3)
    await tenant.unbind()
    async with asyncio.timeout(WITHIN_S):
        assert await process.wait() == 1
    assert "cannot" in (await process.stderr.read()).decode()
