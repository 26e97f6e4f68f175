"""The component engine on a real API server, with the real Helm and a real museum process."""

import base64
import gzip
import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.museum import Museum, museum

from edge.adapters.helm import Helm
from edge.components.room import room
from edge.components.settings import ComponentSettings
from edge.components.types import Component, ComponentSpec
from edge_kube.harness.kube import Kube
from edge_kube.harness.processes import tool
from edge_kube.meta import Key, ObjectMeta

NAMESPACE = "default"


class Engine:
    """kube: the cluster. helm_calls: verbs of Helm's child processes so far, in order."""

    def __init__(self, kube: Kube, running: Museum, folder: Path) -> None:
        self.kube = kube
        self.museum = running
        self.folder = folder
        self.helm: Helm | None = None
        self._calls = folder / "helm-calls"
        self._wrapper = folder / "helm"
        self._wrapper.write_text(
            f'#!/bin/sh\necho "$1 $2" >> {self._calls}\n{folder}/before-helm "$@" </dev/null || true\n'
            f'exec {tool("helm")} "$@"\n'
        )
        self._wrapper.chmod(0o755)
        self.before_helm("exit 0")

    def before_helm(self, script: str) -> None:
        """What each Helm child does first: "sleep 3" makes it slow."""
        path = self.folder / "before-helm"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    @property
    def helm_calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def verbs(self) -> list[str]:
        return [call.split()[0] for call in self.helm_calls]

    def is_quiet(self, name: str) -> bool:
        """No Helm run of the Component is due to end."""
        return self.helm is not None and self.helm.operations.running(Key(NAMESPACE, name)) is None

    async def start(
        self, *, museum_url: str = "", backoff_base_s: float = 0.5, webhooks: bool = False
    ) -> None:
        self.helm = Helm(
            self.kube.client,
            executable=self._wrapper,
            museum_url=museum_url or self.museum.url,
            builtin=self.folder / "builtin",
            scratch=self.folder / "scratch",
            settings=ComponentSettings(backoff_base_s=backoff_base_s),
            chart_fresh_s=0.2,
        )
        await self.kube.start(
            room(
                self.helm.charts,
                self.helm.releases,
                self.helm.sources,
                self.helm.settings,
                self.helm.operations,
            ),
            webhooks=webhooks,
        )

    async def stop(self) -> None:
        await self.kube.stop()
        if self.helm is not None:
            await self.helm.close()
            self.helm = None

    async def kill(self) -> None:
        """End the controller at once; its Helm children die with it."""
        await self.kube.kill()
        if self.helm is not None:
            await self.helm.close()
            self.helm = None

    def upload(self, archive: bytes) -> None:
        with urllib.request.urlopen(f"{self.museum.url}/api/charts", data=archive) as answer:
            assert answer.status == 201

    async def create(self, name: str, version: str = "1.0.0", **spec: Any) -> Component:
        return await self.kube.create(component(name, version, **spec), status=False)

    async def change(self, name: str, **spec: Any) -> Component:
        return await self.kube.patch(Component, name, {"spec": spec}, NAMESPACE)

    async def until(self, name: str, holds: Callable[[Component], bool], within_s: float = 60) -> Component:
        return await self.kube.eventually(Component, name, holds, namespace=NAMESPACE, within_s=within_s)

    async def ready(self, name: str, within_s: float = 60) -> Component:
        return await self.until(name, is_ready, within_s)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.kube.cluster.kubectl(*arguments, stdin=stdin)

    def by_hand(self, *arguments: str) -> str:
        """Helm as a person runs it; not counted."""
        command = [
            tool("helm"),
            *arguments,
            f"--kubeconfig={self.kube.cluster.kubeconfig}",
            f"-n={NAMESPACE}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def relabel(self, release: str, revision: int, state: str) -> None:
        """Rewrite what Helm recorded of a revision, as a kill at that moment leaves it."""
        name = f"sh.helm.release.v1.{release}.v{revision}"
        secret = json.loads(self.kubectl("get", "secret", name, "-n", NAMESPACE, "-o", "json"))
        record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
        record["info"]["status"] = state
        packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode()))).decode()
        patch = {"data": {"release": packed}, "metadata": {"labels": {"status": state}}}
        self.kubectl("patch", "secret", name, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))

    async def settle(self, name: str, kind: str) -> None:
        """Say what a controller would: that the workload without replicas is as it should be."""
        await self.until(name, lambda c: condition(c, "Ready")[1].startswith("Workloads"))
        status = json.dumps({"status": {"observedGeneration": 1}})
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", status)


def component(name: str, version: str = "1.0.0", **spec: Any) -> Component:
    chart: Mapping[str, Any] = {"name": "web", "namespace": NAMESPACE, **spec.pop("chart", {})}
    return Component(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=msgspec.convert({"version": version, "chart": chart, **spec}, ComponentSpec),
    )


def condition(of: Component, type_: str) -> tuple[str, str]:
    """(status, reason), or ("", "") while it is not there."""
    found = next((c for c in of.status.conditions if c.type == type_), None)
    return (found.status, found.reason) if found else ("", "")


def is_ready(of: Component) -> bool:
    found = next((c for c in of.status.conditions if c.type == "Ready"), None)
    return bool(found and found.status == "True" and found.observed_generation == of.metadata.generation)


def has(type_: str, status: str, reason: str = "") -> Callable[[Component], bool]:
    return lambda c: condition(c, type_)[0] == status and (not reason or condition(c, type_)[1] == reason)


@pytest.fixture(scope="session")
def shared_museum(tmp_path_factory: pytest.TempPathFactory) -> Generator[Museum]:
    with museum(tmp_path_factory.mktemp("museum") / "charts", ALLOW_OVERWRITE="true") as running:
        yield running


@pytest.fixture
async def engine(kube: Kube, shared_museum: Museum, tmp_path: Path) -> AsyncIterator[Engine]:
    made = Engine(kube, shared_museum, tmp_path)
    yield made
    await made.stop()
