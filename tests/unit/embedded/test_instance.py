"""Instances: address blocks, records, locks, ports (R17; port in use at `make up`)."""

import os
import socket
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from edge.embedded import instance, ports, processes
from edge.embedded.components import Components
from edge.embedded.steps import StepError
from edge_kube.harness.processes import free_port


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_STATE", str(tmp_path))
    return tmp_path


def test_instances_get_different_address_blocks_and_keep_theirs() -> None:
    one, two = (instance.ensure(name, "test", durable=False) for name in "ab")
    assert one.number != two.number
    assert one.node_ip != two.node_ip
    assert one.service_cidr != two.service_cidr
    assert instance.ensure("a", "test", durable=False) == one
    assert instance.recorded() == [one, two]


def test_a_dropped_instance_frees_its_block(state: Path) -> None:
    one = instance.ensure("a", "test", durable=False)
    (one.at("etcd")).mkdir()
    instance.drop(one)
    assert instance.find("a") is None
    assert not one.folder.exists()
    assert instance.ensure("b", "test", durable=False).number == one.number


def test_when_all_blocks_are_taken_the_remedy_is_told() -> None:
    for number in range(instance.MAX_INSTANCES):
        instance.ensure(f"i{number}", "test", durable=False)
    with pytest.raises(StepError, match="make clean"):
        instance.ensure("more", "test", durable=False)


def test_a_block_that_the_machine_uses_already_is_avoided() -> None:
    used = [IPv4Network("10.123.0.128/25"), IPv4Network("10.122.16.0/22")]
    assert instance.ensure("a", "test", durable=False, avoid=used).number == 2


def test_the_lock_of_a_killed_process_is_free(state: Path) -> None:
    script = (
        "from edge.embedded import instance; import time\n"
        "with instance.locked('x'):\n    print('held', flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), instance.locked("x", wait=False):
            pass
        holder.kill()
    with instance.locked("x", wait=False):
        pass


def test_only_a_test_instance_may_skip_waiting_for_the_disk() -> None:
    durable = Components(instance.ensure("a", "up", durable=True), Path("/t")).etcd().argv
    thrown_away = Components(instance.ensure("b", "test", durable=False), Path("/t")).etcd().argv
    assert "--unsafe-no-fsync" not in durable
    assert "--unsafe-no-fsync" in thrown_away


def test_a_taken_port_is_named_with_its_holder_and_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StepError) as told:
            ports.bind({"http": port})
    assert f"port {port} " in str(told.value)
    assert f"(pid {os.getpid()})" in str(told.value)
    assert f"EDGE_PORT={port + 1}" in str(told.value)


def test_when_one_of_two_ports_is_taken_none_stays_bound() -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StepError):
            ports.bind({"http": port, "metrics": taken.getsockname()[1]})
    for listener in ports.bind({"http": port}).values():
        listener.close()


@pytest.mark.parametrize("text", ["no", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_PORT", text)
    with pytest.raises(StepError, match="from 1 to 65535"):
        ports.wanted()


def test_a_process_is_known_by_its_start_and_not_by_its_number_alone() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.alive(me)
    assert not processes.alive(processes.ProcessId(me.pid, me.started + 1))
