"""Kubeconfigs as a user has them: made over HTTP, used by real kubectl."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from tests.support.gateway import IAM, RunningGateway

from edge_kube.harness.processes import tool

MINE = f"{IAM}/me/kubeconfigs"


async def issue(gateway: RunningGateway, token: str, **body: Any) -> dict[str, Any]:
    """The document of a new kubeconfig. Asks again, as clients do, while rights are not known to be new."""
    async with asyncio.timeout(60):
        while (answer := await gateway.ask("POST", MINE, token=token, json=body)).status == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert answer.status == 201, answer.body
    return yaml.safe_load(answer.body)


def token_of(document: dict[str, Any]) -> str:
    return document["users"][0]["user"]["token"]


def id_of(document: dict[str, Any]) -> str:
    return document["contexts"][0]["context"]["extensions"][0]["extension"]["id"]


def kubectl_command(file: Path, *args: str) -> list[str]:
    return [str(tool("kube")), "kubectl", f"--kubeconfig={file}", f"--cache-dir={file}.cache", *args]


async def kubectl(file: Path, *args: str) -> tuple[int, str]:
    """Exit code and output of real kubectl, that knows nothing but the file."""
    process = await asyncio.create_subprocess_exec(
        *kubectl_command(file, *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


def written(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path
