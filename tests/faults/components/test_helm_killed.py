"""Helm killed in the middle, and the controller with it: every release ends as asked for (K5, R32)."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine

from edge.components.types import Component

HOOKED = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: "{{ .Release.Name }}-%(n)d"
data: {colour: {{ .Values.colour | quote }}}
---
"""
pytestmark = pytest.mark.timeout(900)


def _helm_children(folder: Path) -> Sequence[int]:
    """Pids of Helm processes that this test's engine started, found by its kubeconfig."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if str(folder / "scratch").encode() in command:
            found.append(int(entry.parent.name))
    return found


async def _helm_began(engine: Engine, before: int) -> None:
    """Until Helm was started once more than so often. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while len(engine.helm_calls) <= before:  # noqa: ASYNC110 - a file is looked at, not an event
            await asyncio.sleep(0.005)


def _kill_helm(folder: Path) -> int:
    """How many were killed; one that ended by itself meanwhile does not count."""
    killed = 0
    for pid in _helm_children(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


async def test_helm_killed_at_random_moments_still_comes_to_the_asked_state(engine: Engine) -> None:
    templates = {f"{n}.yaml": HOOKED % {"n": n} for n in range(12)}
    engine.upload(chart("slow", templates=templates, values={"colour": "c0"}))
    await engine.start(backoff_base_s=0.1)
    await engine.create("victim", chart={"name": "slow"}, maxRetries=50)
    random.seed(11)
    kills = turn = 0
    while turn < 8 or kills < 4:  # a change starts the next try at once, where a kill alone waits for a while
        turn += 1
        before = len(engine.helm_calls)
        await engine.change("victim", values={"colour": f"c{turn}"})
        await _helm_began(engine, before)
        await asyncio.sleep(random.uniform(0, 0.15))
        kills += _kill_helm(engine.folder)
    done = await engine.ready("victim", within_s=300)
    assert done.status.phase == "Running"
    for number in range(12):
        colour = engine.kubectl("get", "configmap", f"victim-{number}", "-o", "jsonpath={.data.colour}")
        assert colour == f"c{turn}"
    states = json.loads(engine.by_hand("history", "victim", "-o", "json"))
    assert states[-1]["status"] == "deployed"
    assert not [state for state in states if state["status"].startswith("pending")]


async def test_a_killed_controller_takes_helm_along_and_the_next_goes_on(engine: Engine) -> None:
    """The child dies with its parent (cancelled here, PDEATHSIG in a process of its own), the lock of
    the dead one is broken, the half-done release is brought in order."""
    templates = {f"{n}.yaml": HOOKED % {"n": n} for n in range(12)}
    engine.upload(chart("slow", templates=templates, values={"colour": "c0"}))
    await engine.start()
    await engine.create("orphan", chart={"name": "slow"})
    random.seed(5)
    for _ in range(4):
        await asyncio.sleep(random.uniform(0.1, 0.5))
        await engine.kill()
        assert _helm_children(engine.folder) == []
        await engine.start()
    await engine.ready("orphan", within_s=300)
    await engine.kube.delete(Component, "orphan", NAMESPACE)
    await engine.kube.gone(Component, "orphan", namespace=NAMESPACE)
    assert "helm-orphan" not in engine.kubectl("get", "lease", "-n", NAMESPACE, "-o", "name")


async def test_every_pending_state_is_recovered(engine: Engine) -> None:
    """Releases are put into each state that a kill leaves, by rewriting what Helm recorded."""
    engine.upload(chart("web"))
    for state, good_first in (
        ("pending-install", False),
        ("pending-upgrade", True),
        ("pending-rollback", True),
        ("uninstalling", True),
        ("pending-upgrade", False),
    ):
        name = f"{state}-{'after-good' if good_first else 'alone'}"
        await engine.start()
        await engine.create(name)
        await engine.ready(name)
        await engine.stop()
        revision = 1 + good_first
        if good_first:
            archive = engine.folder / "web.tgz"
            archive.write_bytes(chart("web"))
            engine.by_hand("upgrade", name, str(archive), "--set", "colour=half")
        engine.relabel(name, revision, state)
        calls = len(engine.helm_calls)
        await engine.start()
        await engine.until(name, lambda c, n=name, k=calls: len(engine.helm_calls) > k and engine.is_quiet(n))
        settled = await engine.ready(name)
        assert settled.status.observed_hash
        history = json.loads(engine.by_hand("history", name, "-o", "json"))
        assert history[-1]["status"] == "deployed"
        assert engine.kubectl("get", "cm", f"{name}-settings", "-o", "jsonpath={.data.colour}") == "blue"
        await engine.stop()
