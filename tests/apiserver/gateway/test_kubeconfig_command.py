"""`edge kubeconfig`, and the commands of docs/gateway.md as they stand (I3, C8)."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from tests.support.gateway import RunningGateway
from tests.support.kubeconfigs import MINE, kubectl, token_of

from edge_kube.harness import LightCluster
from edge_kube.harness.processes import tool

PAGE = Path(__file__).parents[3] / "docs" / "gateway.md"
EDGE = "import sys; from edge.cli.main import main; sys.exit(main())"


async def run_edge(gateway: RunningGateway, token: str, home: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of the command line, with `home` as the home folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EDGE, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "EDGE_SERVER": gateway.url,
            "EDGE_TOKEN": token,
        },
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_command_line_merges_lists_and_revokes(gateway: RunningGateway, tmp_path: Path) -> None:
    token, file = await gateway.token(), tmp_path / ".kube" / "config"
    file.parent.mkdir()
    file.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: mine\npreferences: {colors: true}\n"
        "clusters: [{name: mine, cluster: {server: 'https://10.0.0.1'}}]\n"
        "users: [{name: me, user: {token: kept}}]\n"
        "contexts: [{name: mine, context: {cluster: mine, user: me}}]\n"
    )
    code, said = await run_edge(gateway, token, tmp_path, "kubeconfig", "--ttl", "8h", "--name", "laptop")
    assert code == 0, said
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert [one.name for one in file.parent.iterdir()] == ["config"]
    document = yaml.safe_load(file.read_text())
    assert (document["current-context"], document["preferences"]) == ("mine", {"colors": True})
    assert [one["name"] for one in document["users"]] == ["me", "admin@edge-host"]
    code, said = await kubectl(file, "--context=admin@edge-host", "get", "namespaces")
    assert (code, "edge-system" in said) == (0, True)
    code, said = await run_edge(gateway, token, tmp_path, "kubeconfig", "list")
    (row,) = [line.split() for line in said.splitlines() if "laptop" in line]
    assert token_of({"users": [document["users"][1]]}) not in said
    code, said = await run_edge(gateway, token, tmp_path, "kubeconfig", "revoke", row[0])
    assert (code, said) == (0, f"revoked {row[0]} (host)\n")
    code, said = await kubectl(file, "--context=admin@edge-host", "get", "namespaces")
    assert code == 1


async def test_a_file_that_is_none_or_belongs_to_another_gateway_is_left_as_it_is(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    token = await gateway.token("ada")
    before = (await gateway.get(MINE, token=token)).json()["items"]
    for text, says in (
        ("just words", "is no kubeconfig"),
        ("clusters: [{name: edge-host, cluster: {server: 'https://other'}}]", "at https://other already"),
    ):
        file = tmp_path / "there"
        file.write_text(text)
        code, said = await run_edge(gateway, token, tmp_path, "kubeconfig", "-f", str(file))
        assert (code, says in said, "Traceback" in said) == (1, True, False)
        assert file.read_text() == text
    assert (await gateway.get(MINE, token=token)).json()["items"] == before, "one that nobody has is revoked"
    words = ("kubeconfig", "-f", str(file), "--context", "second", "--use")
    assert (await run_edge(gateway, token, tmp_path, *words))[0] == 0
    assert yaml.safe_load(file.read_text())["current-context"] == "second"
    code, said = await run_edge(gateway, token, tmp_path, "kubeconfig", "--cluster", "nowhere", "-f", "-")
    assert (code, said.startswith('There is no cluster "nowhere"')) == (1, True)


async def test_the_commands_of_the_page_work_as_they_stand(
    gateway: RunningGateway, east: LightCluster, tmp_path: Path
) -> None:
    section = PAGE.read_text().split("\n## Kubeconfigs\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.S)
    assert blocks
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, command in {
        "kubectl": f'exec {tool("kube")} kubectl "$@"',
        "edge": f'exec {sys.executable} -c "{EDGE}" "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{command}\n")
        (tools / name).chmod(0o755)
    (tmp_path / ".curlrc").write_text("retry = 5\n")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", "\n".join(blocks).replace("test-cluster", "east")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env={
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "API": gateway.url.removeprefix("http://"),
            "EDGE_SERVER": gateway.url,
            "TOKEN": await gateway.token(),
            "EDGE_TOKEN": await gateway.token(),
        },
    )
    out, _ = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, out.decode()
    assert "edge-system" in out.decode()
    assert (await gateway.get(MINE, token=await gateway.token())).json()["items"] == []
