"""LightCluster: several side by side, nothing left behind."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_kube.core import Namespace
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import ToolMissingError, tool
from edge_kube.meta import ObjectMeta


async def test_two_clusters_run_side_by_side_and_know_nothing_of_each_other(
    light_cluster: LightCluster,
) -> None:
    with LightCluster() as other:
        async with light_cluster.client() as here, other.client() as there:
            await there.create(Namespace(metadata=ObjectMeta(name="only-there")), manager="test")
            assert await here.find(Namespace, "only-there") is None
        pids = [process.pid for process in (other.etcd, other.apiserver) if process is not None]
        folder = other.folder
    assert len(pids) == 2
    assert not any(Path("/proc", str(pid)).exists() for pid in pids)
    assert not folder.exists()


async def test_data_outlives_a_restart_of_etcd_and_of_the_api_server() -> None:
    with LightCluster() as cluster:
        async with cluster.client() as client:
            await client.create(Namespace(metadata=ObjectMeta(name="kept")), manager="test")
            cluster.restart_etcd()
            cluster.restart_apiserver()
            assert await client.find(Namespace, "kept") is not None


async def test_asked_for_controllers_run() -> None:
    with LightCluster(controllers=("namespace-controller",)) as cluster:
        async with cluster.client() as client:
            await client.create(Namespace(metadata=ObjectMeta(name="brief")), manager="test")
            await client.delete(Namespace, "brief")
            async with asyncio.timeout(60):
                while await client.find(Namespace, "brief") is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)


def test_nothing_outlives_a_killed_parent() -> None:
    program = (
        "from edge_kube.harness import LightCluster\n"
        "cluster = LightCluster(); cluster.start()\n"
        "print(cluster.etcd.pid, cluster.apiserver.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = parent.stdout.readline().split()
        parent.kill()
    assert len(pids) == 2
    ends_at = time.monotonic() + 60
    while any(Path("/proc", pid).exists() for pid in pids):
        assert time.monotonic() < ends_at, f"of {pids} some still run"
        time.sleep(0.05)


def test_a_missing_tool_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_TOOLS", str(tmp_path))
    with pytest.raises(ToolMissingError, match="make test"):
        tool("etcd")
