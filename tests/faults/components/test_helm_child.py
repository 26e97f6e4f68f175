"""Helm as a child process: it dies with us, sees only what it needs, leaves no secret behind (CA 1.3)."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.adapters.helm_process import HelmProcess
from edge_kube.config import Connection

CONNECTION = Connection(server="https://127.0.0.1:1", token="very-secret-token")

PARENT = """
import asyncio, sys
from pathlib import Path
from edge.adapters.helm_process import HelmProcess
from edge_kube.config import Connection
process = HelmProcess(sys.argv[1], Path(sys.argv[2]))
asyncio.run(process.run(["go"], connection=Connection(server="https://127.0.0.1:1"), timeout_s=60))
"""


def _program(folder: Path, script: str) -> str:
    path = folder / "helm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def _wait_for(path: Path) -> str:
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        if path.exists() and (text := path.read_text().strip()):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


def _wait_until_gone(pid: int) -> None:
    ends_at = time.monotonic() + 60
    while _is_alive(pid) and time.monotonic() < ends_at:
        time.sleep(0.02)
    assert not _is_alive(pid)


def test_it_is_killed_when_we_are(tmp_path: Path) -> None:
    program = _program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 100")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, program, str(tmp_path / "scratch")])
    try:
        child = int(_wait_for(tmp_path / "pid"))
        assert _is_alive(child)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait_until_gone(child)


async def test_it_is_killed_with_its_children_when_it_takes_too_long(tmp_path: Path) -> None:
    program = _program(tmp_path, f"sleep 100 & echo $! > {tmp_path}/pid; wait")
    process = HelmProcess(program, tmp_path / "scratch")
    for timeout_s in (1, 10, 60):  # as much as a busy machine needs to start it
        done = await process.run(["go"], connection=CONNECTION, timeout_s=timeout_s)
        assert done.code == -signal.SIGKILL
        assert "deadline exceeded" in done.stderr
        if (tmp_path / "pid").exists():
            break
    await asyncio.to_thread(_wait_until_gone, int(_wait_for(tmp_path / "pid")))


async def test_a_cancelled_run_leaves_neither_child_nor_kubeconfig(tmp_path: Path) -> None:
    program = _program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 100")
    process = HelmProcess(program, tmp_path / "scratch")
    task = asyncio.create_task(process.run(["go"], connection=CONNECTION, timeout_s=60))
    child = int(await asyncio.to_thread(_wait_for, tmp_path / "pid"))
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "scratch").glob("kubeconfig-*")] == [0o600]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _is_alive(child)
    assert list((tmp_path / "scratch").glob("kubeconfig-*")) == []


async def test_it_gets_values_on_stdin_and_a_private_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:pass@proxy")
    monkeypatch.setenv("ADMIN_PASSWORD", "hunter22")
    shown = 'cat; echo; env; echo "$@" >&2; cat "${2#--kubeconfig=}"'
    program = _program(tmp_path, shown)
    process = HelmProcess(program, tmp_path / "scratch")
    done = await process.run(["go"], connection=CONNECTION, stdin=b'{"a":"navy"}', timeout_s=60)
    out = done.stdout.decode()
    assert out.startswith('{"a":"navy"}')
    assert "hunter22" not in out
    assert "proxy" not in out
    assert f"HELM_CACHE_HOME={tmp_path}/scratch/helm/cache" in out
    assert "very-secret-token" in out.splitlines()[-1]
    assert "very-secret-token" not in done.stderr
    assert "navy" not in done.stderr
    assert os.environ["ADMIN_PASSWORD"] == "hunter22"
