"""docs/watch.md: its example is run as it is printed (O14; console §5.4)."""

import asyncio
import os
import re
import secrets
import sys
from pathlib import Path

from tests.apiserver.gateway.test_watch_socket import label
from tests.support.gateway import RunningGateway

from edge.tenancy.types import Workspace
from edge_kube.client import Client
from edge_kube.meta import ObjectMeta

PAGE = Path(__file__).parents[3] / "docs" / "watch.md"


async def test_the_example_of_the_page_follows_workspaces(gateway: RunningGateway, kube: Client) -> None:
    name = f"0-{secrets.token_hex(3)}"  # sorts first, whatever other tests have left
    await kube.create(Workspace(metadata=ObjectMeta(name=name)), manager="test")
    await gateway.until(
        f"/oapis/scope.theriseunion.io/v1alpha1/workspaces/{name}", 200, token=await gateway.token()
    )
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    env = {**os.environ, "EDGE_SERVER": gateway.url, "EDGE_TOKEN": await gateway.token()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            assert name in (await process.stdout.readline()).decode()
            await label(kube, name, colour="red")
            while (await process.stdout.readline()).decode() != f"changed {name} ['labels']\n":
                pass
    finally:
        process.kill()
        await process.wait()
        await kube.delete(Workspace, name)
