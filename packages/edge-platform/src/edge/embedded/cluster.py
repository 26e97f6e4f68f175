"""The host cluster of an instance: started in order, probed from outside, stopped with etcd last."""

import json
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge.embedded import lifecycle
from edge.embedded.components import CONTROL_PLANE, NODE, Components
from edge.embedded.control import Component, ComponentStatus, Control
from edge.embedded.hostpki import HostPki
from edge.embedded.instance import NODE_NAME, Instance
from edge.embedded.loading import Loader
from edge.embedded.steps import Progress, StepError

CONTAINERS_GRACE_S = 8.0
PODS_BACK_S = 60.0


class HostCluster:
    """One instance's cluster. `tools` is the folder of built executables."""

    def __init__(self, instance: Instance, tools: Path, progress: Progress) -> None:
        self.instance = instance
        self.tools = tools
        self._progress = progress
        self._components = Components(instance, tools)
        self._control = Control(instance.control_socket)

    # ---------------------------------------------------------------- verbs
    def start(self, archives: Mapping[str, Path]) -> None:
        """Start what does not run and wait until the node is Ready; `archives` are images by name."""
        HostPki(self.instance.at("pki")).ensure(self.instance)
        self._write_node_files()
        self._remember_tools()
        c = self._components
        self._run(c.etcd(), "etcd", self._etcd_ready)
        self._run(c.apiserver(), "kube-apiserver", self.api_ready)
        self._control.start(c.controller_manager())
        self._control.start(c.scheduler())
        loader = Loader(self.instance, self.tools)
        self._run(c.containerd(), "containerd", loader.runtime_ready)
        self._progress_load(loader, archives)
        self.apply("rbac.yaml")
        self._control.start(c.proxy())
        began = datetime.now(UTC).replace(microsecond=0)
        fresh = not any(row.name == "kubelet" for row in self._control.status())
        self._run(c.kubelet(), "node Ready", self._node_ready)
        if fresh:
            self._await_pods(began)

    def stop(self) -> None:
        """Graceful, in the order that loses nothing; fine when parts of it do not run."""
        if lifecycle.first_process(self.instance) is not None:
            with self._progress.step("stop containers"):
                for name in ("kubelet", "kube-controller-manager", "kube-scheduler"):
                    self._control.stop(name)
                self._control.sweep(grace_s=CONTAINERS_GRACE_S)
            with self._progress.step("stop Kubernetes"):
                for name in ("kube-proxy", "containerd", "kube-apiserver", "etcd"):
                    self._control.stop(name)
        with self._progress.step("remove namespaces, links and groups"):
            lifecycle.end(self.instance)

    def restart(self, name: str) -> None:
        """Stop one component and start it again; returns when it serves."""
        known: dict[str, tuple[Component, Callable[[], bool]]] = {
            "etcd": (self._components.etcd(), self._etcd_ready),
            "kube-apiserver": (self._components.apiserver(), self.api_ready),
            "kubelet": (self._components.kubelet(), self._node_ready),
        }
        component, probe = known[name]
        self._control.stop(name)
        self._run(component, name, probe)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """A fault: the supervisor starts the component again a second later."""
        self._control.kill(name, number)

    def status(self) -> list[ComponentStatus]:
        """Of each component in the order of their start; empty when the instance does not run."""
        if lifecycle.first_process(self.instance) is None:
            return []
        order = [*CONTROL_PLANE, *NODE]
        rows = self._control.status()
        return sorted(rows, key=lambda row: order.index(row.name) if row.name in order else len(order))

    # ---------------------------------------------------------------- the API
    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Standard output of kubectl as the cluster's admin; StepError with its words when it fails."""
        done = subprocess.run(
            [str(self.tools / "kubectl"), "--kubeconfig", str(self.instance.kubeconfig), *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StepError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, template: str) -> None:
        """Server-Side Apply of a file in `files/` with its `@NAME@` filled in."""
        text = self._filled(template)
        args = ("apply", "--server-side", "--force-conflicts", "--field-manager=edge-embedded", "-f", "-")
        self.kubectl(*args, stdin=text)

    def api_ready(self) -> bool:
        return self._https_ok(f"{self.instance.server}/readyz", "ca", "admin")

    # ---------------------------------------------------------------- parts
    def _etcd_ready(self) -> bool:
        return self._https_ok(f"https://{self.instance.node_ip}:2379/health", "etcd-ca", "apiserver-etcd")

    def _node_ready(self) -> bool:
        node = json.loads(self.kubectl("get", "node", NODE_NAME, "-o", "json"))
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])

    def _await_pods(self, began: datetime) -> None:
        """After a new start the API still shows what ran before; wait until the kubelet has replaced it."""

        def old() -> bool:
            listed = json.loads(self.kubectl("get", "pods", "-A", "-o", "json"))
            runs = [s["state"].get("running") for pod in listed["items"] for s in _container_statuses(pod)]
            return any(run and datetime.fromisoformat(run["startedAt"]) < began for run in runs)

        if old():
            with self._progress.step("pods are back"):
                end = time.monotonic() + PODS_BACK_S
                while old() and time.monotonic() < end:
                    time.sleep(0.3)

    def _https_ok(self, url: str, ca: str, client: str) -> bool:
        pki = self.instance.at("pki")
        context = ssl.create_default_context(cafile=str(pki / f"{ca}.crt"))
        context.load_cert_chain(pki / f"{client}.crt", pki / f"{client}.key")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(url, timeout=3) as answer:
            return answer.status == 200

    def _run(self, component: Component, title: str, probe: Callable[[], bool], limit_s: float = 120) -> None:
        with self._progress.step(title):
            self._control.start(component)
            began = time.monotonic()
            while not _tried(probe):
                self._fail_if_lost(component, time.monotonic() - began > limit_s)
                time.sleep(0.1)

    def _fail_if_lost(self, component: Component, too_late: bool) -> None:
        row = next((r for r in self._control.status() if r.name == component.name), None)
        ended = row is not None and row.pid == 0
        if not (ended or too_late):
            return
        log = Path(component.log)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
        what = f"ended with {row.last_exit}" if row is not None and ended else "is not ready in time"
        raise StepError(f"{component.name} {what}; last lines of {log}:\n{tail}")

    def _progress_load(self, loader: Loader, archives: Mapping[str, Path]) -> None:
        missing = loader.missing(archives)
        if missing:
            with self._progress.step(f"load {len(missing)} images"):
                loader.load(missing)

    def _remember_tools(self) -> None:
        """For commands that look at or stop an instance whose checkout has changed since."""
        link = self.instance.at("tools")
        link.unlink(missing_ok=True)
        link.symlink_to(self.tools)

    def _write_node_files(self) -> None:
        etc = self.instance.at("etc")
        (etc / "containerd.toml").write_text(self._filled("containerd.toml"))
        (etc / "kubelet.yaml").write_text(self._filled("kubelet.yaml"))
        (etc / "cni" / "10-edge.conflist").write_text(self._filled("10-edge.conflist"))

    def _filled(self, name: str) -> str:
        text = files("edge.embedded").joinpath("files", name).read_text()
        for key, value in self._components.templates().items():
            text = text.replace(f"@{key}@", value)
        return text


def _container_statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    live = "deletionTimestamp" not in pod["metadata"]
    return pod["status"].get("containerStatuses", []) if live else []


def _tried(probe: Callable[[], bool]) -> bool:
    """A probe that cannot connect yet is simply not ready."""
    try:
        return probe()
    except (OSError, StepError):
        return False
