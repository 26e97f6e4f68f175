"""What the last verification found, wherever somebody looks, on a real API server (O6, O12; design §4.3)."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.apiserver.gateway.test_audit import AUDIT, MAPS, change, configmap, fresh_name, settings
from tests.apiserver.gateway.test_audit_page import run
from tests.support.gateway import RunningGateway
from tests.support.trails import write_chain

from edge_kube.client import Client
from edge_kube.core import Event
from edge_kube.harness import LightCluster

VERIFICATIONS = f"{AUDIT}/verifications"


@pytest.fixture
def name() -> str:
    """Of this process, in records and events."""
    return f"gateway-{fresh_name()}"


@pytest_asyncio.fixture
async def audited(gateway_cluster: LightCluster, tmp_path: Path, name: str) -> AsyncIterator[RunningGateway]:
    flags = settings(tmp_path / "trail", **{"audit.writer": name, "audit.verifyAt": "03:30"})
    async with RunningGateway(gateway_cluster.connection, flags) as running:
        yield running


async def verdict(gateway: RunningGateway, token: str) -> dict[str, object]:
    answer = await gateway.get(VERIFICATIONS, token=token)
    assert answer.status == 200, answer.body
    (found,) = answer.json()["items"]
    return found


async def test_a_break_that_was_found_is_told_everywhere(
    audited: RunningGateway, kube: Client, tmp_path: Path, name: str
) -> None:
    token = await audited.token()
    assert (await change(audited, "POST", MAPS, token, configmap(fresh_name()))).status == 201
    code, said = await run("edge audit status", tmp_path, audited, token)
    assert (code, said.strip().startswith(f"{name}  unverified; next ")) == (0, True)
    assert (await audited.get(f"{AUDIT}/verification", token=token)).json()["whole"] is True
    found = await verdict(audited, token)
    assert (found["store"], found["broken"], found["trouble"]) == (name, None, "")
    code, said = await run("edge audit status", tmp_path, audited, token)
    assert (code, f"{name}  whole; " in said, "T03:30:00Z" in said) == (0, True, True)
    metrics = (await audited.get("/metrics")).body.decode()
    assert f'edge_audit_verify_ok{{store="{name}"}} 1.0' in metrics
    (segment,) = (tmp_path / "trail").glob("*.log")
    segment.write_bytes(segment.read_bytes().replace(b'"user":"admin"', b'"user":"adman"', 1))
    code, said = await run("edge audit verify", tmp_path, audited, token)
    assert (code, "it was altered" in said) == (1, True)
    code, said = await run("edge audit status", tmp_path, audited, token)
    assert (code, f"{name}  broken; " in said, "it was altered" in said) == (1, True, True)
    metrics = (await audited.get("/metrics")).body.decode()
    assert f'edge_audit_verify_ok{{store="{name}"}} 0.0' in metrics
    events = await kube.list(Event, "edge-system")
    (event,) = [one for one in events if one.regarding.name == name]
    assert (event.type, event.reason) == ("Warning", "AuditTrailBroken")
    assert "it was altered" in event.note


async def test_a_restart_knows_what_was_found_and_strangers_are_not_told(
    gateway_cluster: LightCluster, tmp_path: Path, name: str
) -> None:
    flags = settings(tmp_path / "trail", **{"audit.writer": name})
    async with RunningGateway(gateway_cluster.connection, flags) as first:
        token = await first.token()
        assert (await first.get(f"{AUDIT}/verification", token=token)).json()["whole"] is True
        known = await verdict(first, token)
    async with RunningGateway(gateway_cluster.connection, flags) as second:
        token = await second.token()
        assert await verdict(second, token) == known
        assert (await second.get(VERIFICATIONS, token=await second.token("ada"))).status == 403
        assert (await second.get(f"{VERIFICATIONS}/x", token=token)).status == 404


async def test_a_record_that_another_key_signed_is_not_taken_for_ours_whatever_the_folder_says(
    audited: RunningGateway, tmp_path: Path
) -> None:
    """Who has the volume has its file of keys too; the one that counts is in the cluster."""
    token = await audited.token()
    await asyncio.to_thread(write_chain, tmp_path / "forged", 4, "made-up")
    for path in (tmp_path / "forged").glob("made-up.*"):
        path.rename(tmp_path / "trail" / path.name)
    with (tmp_path / "trail" / "keys").open("a") as keys:
        keys.write((tmp_path / "forged" / "keys").read_text())
    found = (await audited.get(f"{AUDIT}/verification", token=token)).json()
    assert found["whole"] is False
    assert found["broken"]["chain"] == "made-up"
    assert "which is not known" in found["broken"]["why"]


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found += [int(child) for child in path.read_text().split()]
    return found


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_verification_yields_to_all_else_and_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    """kill -9 of the process that keeps the record leaves no reader behind."""
    await asyncio.to_thread((tmp_path / "trail").mkdir)
    script = (
        "import asyncio, fcntl, os, sys\n"
        "from pathlib import Path\n"
        "from edge.audit.verifier import Verifier\n"
        "held = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.flock(held, fcntl.LOCK_EX)\n"
        "asyncio.run(Verifier(Path(sys.argv[1]), 'store').verify())\n"
    )
    keeper = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path / "trail"))
    try:
        async with asyncio.timeout(60):
            while not (found := children_of(keeper.pid)):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.1)
            (child,) = found
            while os.getpriority(os.PRIO_PROCESS, child) != 19:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    finally:
        keeper.send_signal(signal.SIGKILL)
        await keeper.wait()
    async with asyncio.timeout(60):
        while is_running(child):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
