"""The platform on an instance of its own, for tests: fresh data, nothing shared with a running `make up`.

An instance belongs to the test process that holds its lock. The kernel frees the lock when that
process dies, however it dies, so the next run finds what an interrupted one left and removes it.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.embedded import addons, commands, images, instance, lifecycle, network, tools
from edge.embedded.cluster import HostCluster
from edge.embedded.instance import Instance
from edge.embedded.steps import Progress

SYSTEM = "edge-system"
MAX_TEST_INSTANCES = 8


@dataclass(frozen=True)
class Host:
    """A bare cluster of the test's own; `run` commands see its kubeconfig and the built tools."""

    instance: Instance
    cluster: HostCluster
    tools: Path

    @property
    def kubeconfig(self) -> Path:
        return self.instance.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """For child processes: KUBECONFIG, PATH with kubectl and helm, a HOME that helm may write to."""
        home = self.instance.at("home")
        home.mkdir(exist_ok=True)
        path = f"{self.tools}:{os.environ['PATH']}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path, "HOME": str(home)}

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Standard output of kubectl; AssertionError with its words when it fails."""
        return self._run(["kubectl", *args], stdin)

    def helm(self, *args: str) -> str:
        return self._run(["helm", *args], None)

    def shell(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A documented command line as a person types it."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def restart(self, component: str) -> None:
        """Stop `etcd`, `kube-apiserver` or `kubelet` gracefully, start it, wait until it serves."""
        self.cluster.restart(component)

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a process of the cluster by the component's name; it starts again a second later."""
        self.cluster.kill(component, number)

    def service_url(self, name: str, namespace: str = SYSTEM, port: int = 0) -> str:
        """`http://CLUSTERIP:PORT` of a Service, reachable from here; the first port by default."""
        spec = json.loads(self.kubectl("get", "service", name, "-n", namespace, "-o", "json"))["spec"]
        return f"http://{spec['clusterIP']}:{port or spec['ports'][0]['port']}"

    def _run(self, command: list[str], stdin: str | None) -> str:
        done = subprocess.run(
            command, env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
        return done.stdout


@dataclass(frozen=True)
class Platform(Host):
    """A host cluster with the platform installed on it."""

    @property
    def gateway(self) -> str:
        """Base URL of edge-apiserver, without a slash at its end."""
        return self.service_url("edge-apiserver", port=9090)


def remove_leftovers() -> list[str]:
    """Stop and drop test instances whose process is gone; their names."""
    removed: list[str] = []
    for one in instance.recorded():
        if one.purpose != "test":
            continue
        try:
            with instance.locked(_owner(one.name), wait=False):
                lifecycle.end(one)
                instance.drop(one)
                removed.append(one.name)
        except BlockingIOError:
            continue
    return removed


@contextmanager
def claimed() -> Generator[Instance]:
    """A test instance that nobody else uses, stopped and dropped at the end."""
    remove_leftovers()
    for number in range(MAX_TEST_INSTANCES):
        name = f"test-{number}"
        try:
            with instance.locked(_owner(name), wait=False):
                one = instance.ensure(name, "test", durable=False, avoid=network.networks_in_use())
                try:
                    yield one
                finally:
                    lifecycle.end(one)
                    instance.drop(one)
                return
        except BlockingIOError:
            continue
    raise AssertionError(f"{MAX_TEST_INSTANCES} test runs are already at work on this machine")


@contextmanager
def host(
    *,
    with_images: tuple[str, ...] = (),
    quiet: bool = False,
    listeners: Mapping[str, socket.socket] | None = None,
) -> Generator[Host]:
    """A bare cluster with DNS and storage; `with_images` are names of folders in images/."""
    progress = Progress(quiet=quiet)
    folder = tools.ensure(progress)
    builder = images.Builder(folder, progress)
    wanted = {"pause", "busybox", "coredns", "local-path-provisioner", *with_images}
    archives = {name: builder.archive(name) for name in sorted(wanted)}
    with claimed() as one:
        lifecycle.begin(one, listeners or {})
        cluster = HostCluster(one, folder, progress)
        cluster.start(archives)
        addons.ensure(cluster, progress)
        yield Host(one, cluster, folder)
        progress.say(f"  test instance {one.name} lived {progress.seconds():.0f} s")


@contextmanager
def platform() -> Generator[Platform]:
    """The platform as `make up` installs it."""
    progress = Progress()
    folder = tools.ensure(progress)
    built = images.Builder(folder, progress).all()
    with claimed() as one:
        lifecycle.begin(one, {})
        cluster = HostCluster(one, folder, progress)
        commands.start_platform(cluster, built, progress)
        yield Platform(one, cluster, folder)


def eventually(what: str, probe: Callable[[], object], within_s: float = 180.0) -> None:
    """Until `probe()` is true; a probe that raises is not true yet."""
    end, last = time.monotonic() + within_s, "false"
    while time.monotonic() < end:
        try:
            if probe():
                return
        except (AssertionError, OSError, ValueError, KeyError) as error:
            last = str(error)
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {within_s:.0f} s ({last})")


def _owner(name: str) -> str:
    return f"{name}.owner"
