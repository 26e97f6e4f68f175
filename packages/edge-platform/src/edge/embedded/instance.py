"""An instance: its name, its address block, its folders, and the record that says it exists.

The record lies in the instance's folder and outlives a stopped instance, because addresses are
written into its certificates. Numbers are handed out under a file lock; a number is free again
when the record is gone.
"""

import fcntl
import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

from edge.embedded import places
from edge.embedded.steps import StepError

Purpose = Literal["up", "test"]

NODE_NAME = "edge-node"
POD_CIDR = "10.244.0.0/16"  # never leaves the instance's network namespace
MAX_INSTANCES = 16


@dataclass(frozen=True, slots=True)
class Instance:
    """`number` picks the address block, 0 … 15; `durable` makes etcd wait for the disk."""

    name: str
    number: int
    purpose: Purpose
    durable: bool

    @property
    def folder(self) -> Path:
        return places.state() / "instances" / self.name

    def at(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    @property
    def control_socket(self) -> Path:
        return self.at("run", "control.sock")

    @property
    def containerd_socket(self) -> Path:
        return self.at("run", "containerd.sock")

    @property
    def kubeconfig(self) -> Path:
        return self.at("admin.kubeconfig")

    @property
    def link(self) -> str:
        """The host's end of the veth pair."""
        return f"edge{self.number}"

    @property
    def cgroup(self) -> str:
        return f"edge-{self.name}"

    @property
    def network(self) -> str:
        return f"10.123.{self.number}.0/24"

    @property
    def host_ip(self) -> str:
        return f"10.123.{self.number}.1"

    @property
    def node_ip(self) -> str:
        return f"10.123.{self.number}.2"

    @property
    def service_cidr(self) -> str:
        """Differs per instance, so that the host can reach the ClusterIPs of each."""
        return f"10.122.{self.number * 16}.0/20"

    @property
    def service_ip(self) -> str:
        return f"10.122.{self.number * 16}.1"

    @property
    def dns_ip(self) -> str:
        return f"10.122.{self.number * 16}.10"

    def overlaps(self, networks: Sequence[IPv4Network]) -> bool:
        mine = (IPv4Network(self.network), IPv4Network(self.service_cidr))
        return any(one.overlaps(other) for one in mine for other in networks)

    @property
    def server(self) -> str:
        return f"https://{self.node_ip}:6443"


def find(name: str) -> Instance | None:
    """The recorded instance of this name, running or not."""
    try:
        raw = (places.state() / "instances" / name / "instance.json").read_text()
    except FileNotFoundError:
        return None
    return Instance(**json.loads(raw))


def recorded() -> list[Instance]:
    """Every instance that has data, running or not."""
    folder = places.state() / "instances"
    names = sorted(p.parent.name for p in folder.glob("*/instance.json")) if folder.is_dir() else []
    return [one for name in names if (one := find(name)) is not None]


def ensure(name: str, purpose: Purpose, *, durable: bool, avoid: Sequence[IPv4Network] = ()) -> Instance:
    """The instance of this name; a new one gets its folder and the lowest number whose address
    block no other instance has and no network in `avoid` overlaps.
    """
    with locked("numbers"):
        if known := find(name):
            return known
        taken = {one.number for one in recorded()}
        free = (
            Instance(name=name, number=number, purpose=purpose, durable=durable)
            for number in range(MAX_INSTANCES)
            if number not in taken
        )
        made = next((one for one in free if not one.overlaps(avoid)), None)
        if made is None:
            raise StepError(
                f"all {MAX_INSTANCES} address blocks (10.123.N.0/24 with a part of 10.122.0.0/16) are "
                f"taken by instances in {places.state()} or by networks of this machine (`ip route`); "
                "drop an instance with `make clean` in its checkout"
            )
        made.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        write_json(made.at("instance.json"), asdict(made))
        return made


def drop(instance: Instance) -> None:
    """Forget a stopped instance and its data; the record goes last, so a cut drop can be repeated."""
    for child in instance.folder.iterdir():
        if child.name == "instance.json":
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
    shutil.rmtree(instance.folder)
    lock_path(instance.name).unlink(missing_ok=True)


def lock_path(name: str) -> Path:
    return places.state() / "locks" / f"{name}.lock"


@contextmanager
def locked(name: str, *, wait: bool = True) -> Generator[None]:
    """Hold the named lock across processes; BlockingIOError when it is held and `wait` is false.

    The kernel lets go of it when the holder dies, so an interrupted run never blocks the next.
    """
    path = lock_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def write_json(path: Path, value: object) -> None:
    """Replace the file in one step: a reader sees the old or the new content, never half."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(value, indent=2) + "\n")
    new.replace(path)
