"""docs/api.md: its commands are run as they are printed (G2, O14)."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

from tests.support.gateway import RunningGateway

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


def commands() -> tuple[list[str], list[str]]:
    """What defines a word of the shell, and what asks."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    words = [line for line in lines if "() {" in line]
    return words, [line for line in lines if line not in words]


async def run(command: str, gateway: RunningGateway, token: str) -> tuple[int, str]:
    env = {**os.environ, "EDGE_SERVER": gateway.url, "EDGE_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode()


async def test_the_commands_of_the_page_work_as_printed(gateway: RunningGateway) -> None:
    token = await gateway.token()
    words, asked = commands()
    said: dict[str, Any] = {}
    for command in asked:
        code, text = await run("\n".join((*words, command)), gateway, token)
        assert code == 0, (command, text)
        said[command] = json.loads(text)
    assert len(said) >= 11
    kinds = [str(found.get("kind")) for found in said.values()]
    assert kinds[:2] == ["UserList", "NamespaceList"]
    assert kinds.count("RowList") == 4
    assert said[asked[2]]["totalItems"] >= 1
    assert {item["metadata"]["labels"]["iam.theriseunion.io/scope"] for item in said[asked[3]]["items"]} == {
        "workspace",
        "namespace",
    }


def test_the_page_names_every_error_code_and_column_type() -> None:
    page = PAGE.read_text()
    for code in ("UnknownColumn", "BadSelector", "BadScope", "BadCursor", "TooManyNamespaces"):
        assert code in page
