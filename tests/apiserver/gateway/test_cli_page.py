"""docs/cli.md: its commands are run as they are printed, and its examples are understood (issue 5 §2)."""

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from tests.support.gateway import PASSWORD, RunningGateway
from tests.support.person import path_with_edge

from edge.cli.main import build
from edge_kube.harness import LightCluster

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


async def test_the_commands_of_the_page_work_as_printed(
    gateway_cluster: LightCluster, tmp_path: Path
) -> None:
    flags = {"audit.folder": str(tmp_path / "trail"), "audit.acknowledgeWithin": "10s"}
    flags["audit.refuseAtPercent"] = "100"
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        await run_page(gateway, tmp_path)


async def run_page(gateway: RunningGateway, tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    env = {"PATH": path_with_edge(tmp_path / "bin"), "HOME": str(tmp_path)}
    env |= {"EDGE_SERVER": gateway.url, "PASSWORD": PASSWORD}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script), cwd=tmp_path, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 500)
    said = out.decode()
    assert process.returncode == 0, said
    assert "categories.iam.theriseunion.io/shelf created (server dry run)" in said
    assert "categories.iam.theriseunion.io/shelf deleted" in said
    assert "yes: you may list pods at namespace/edge-system" in said
    assert said.endswith(f"Signed out of {gateway.url}.\n")
    assert sorted(one.suffix for one in tmp_path.glob("edge.*")) == [".bash", ".fish", ".kubeconfig"]


def test_every_example_of_the_reference_is_understood_by_the_parser() -> None:
    blocks = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    examples = [line.partition("   ")[0] for block in blocks for line in block.splitlines()]
    assert len(examples) > 20
    for example in examples:
        words = shlex.split(example.rpartition(" | ")[2].partition(" > ")[0].partition(" < ")[0])
        try:
            assert words[0] == "edge"
            build().parse_args(words[1:])
        except SystemExit:
            pytest.fail(f"not understood: {example}")
