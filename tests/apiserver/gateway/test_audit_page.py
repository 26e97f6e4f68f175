"""docs/audit.md: its commands are run as they are printed (O6, O14)."""

import asyncio
import json
import os
import re
import secrets
import sys
from pathlib import Path

import pytest
from tests.apiserver.gateway.test_audit import change
from tests.support.gateway import RunningGateway

from edge_kube.harness import LightCluster

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"
FOLDER = "/var/lib/edge/audit"
EDGE = "import sys; from edge.cli.main import main; sys.exit(main())"


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


async def run(command: str, here: Path, gateway: RunningGateway, token: str) -> tuple[int, str]:
    """In a shell in which `edge` is the command line of this checkout."""
    shim = here / "edge"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{EDGE}" "$@"\n')
    shim.chmod(0o755)
    env = {**os.environ, "PATH": f"{here}:{os.environ['PATH']}"}
    env |= {"EDGE_SERVER": gateway.url, "EDGE_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command.replace(FOLDER, str(here / "trail"))),
        cwd=here, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode() + err.decode()


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, str]:
    return {
        "audit.folder": str(tmp_path / "trail"),
        "audit.acknowledgeWithin": "10s",
        "audit.refuseAtPercent": "100",
    }


async def test_the_commands_of_the_page_work_as_printed(
    gateway_cluster: LightCluster, tmp_path: Path, flags: dict[str, str]
) -> None:
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        token = await gateway.token()
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s-{secrets.token_hex(3)}"}}
        made = await change(gateway, "POST", "/api/v1/namespaces/default/secrets", token, body)
        assert made.status == 201
        printed = commands()
        assert len(printed) > 9
        said = {command: await run(command, tmp_path, gateway, token) for command in printed}
    assert {command: text for command, (code, text) in said.items() if code} == {}
    assert "admin  create secrets s-" in said["edge audit query --limit 20"][1]
    assert "whole:" in said["edge audit verify"][1]
    lines = (tmp_path / "audit.ndjson").read_text().splitlines()
    assert {"create", "sign-in"} <= {json.loads(line)["req"]["verb"] for line in lines}
    events = [json.loads(line) for line in (tmp_path / "audit-events.json").read_text().splitlines()]
    assert {event["apiVersion"] for event in events} == {"audit.k8s.io/v1"}


async def test_verify_prints_the_first_broken_record_and_ends_with_1(
    gateway_cluster: LightCluster, tmp_path: Path, flags: dict[str, str]
) -> None:
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        token = await gateway.token()
        await gateway.sign_in("admin", "wrong")
        await gateway.token()
        (segment,) = (tmp_path / "trail").glob("*.log")
        lines = segment.read_bytes().split(b"\n")
        segment.write_bytes(b"\n".join([lines[0], *lines[2:]]))
        for command in ("edge audit verify", f"edge audit verify --folder {FOLDER}"):
            code, said = await run(command, tmp_path, gateway, token)
            assert code == 1
            assert "record 2: it was removed" in said
        code, said = await run("edge audit verify --folder .", tmp_path, gateway, token)
        assert (code, "holds no audit trail" in said) == (1, True)
