"""Install, upgrade, no-op, uninstall, by real Helm (K1-K3, K6)."""

import asyncio
import hashlib
from typing import Any

import pytest
from aiohttp import ClientResponse
from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine, condition, has

from edge.components.types import Component
from edge_kube.transport import Answer, Call, Transport


async def test_a_component_is_installed_changed_and_removed(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("blue", values={"colour": "navy"})
    ready = await engine.ready("blue")
    assert (ready.status.phase, ready.status.release_name, ready.status.release_version) == (
        "Running",
        "blue",
        1,
    )
    assert len(ready.status.observed_hash) == 64
    assert ready.status.chart
    assert ready.status.chart.version == "1.0.0"
    assert engine.kubectl("get", "configmap", "blue-settings", "-o", "jsonpath={.data.colour}") == "navy"
    await engine.change("blue", values={"colour": "teal"})
    changed = await engine.until(
        "blue", lambda c: c.status.release_version == 2 and c.status.phase == "Running"
    )
    assert changed.status.observed_hash != ready.status.observed_hash
    assert engine.kubectl("get", "configmap", "blue-settings", "-o", "jsonpath={.data.colour}") == "teal"
    await engine.kube.delete(Component, "blue", NAMESPACE)
    await engine.kube.gone(Component, "blue", namespace=NAMESPACE)
    left = engine.kubectl("get", "configmap,secret,lease", "-o", "name", "-n", NAMESPACE).split()
    assert [name for name in left if "blue" in name] == []
    assert engine.verbs() == ["upgrade", "upgrade", "uninstall"]


async def test_nothing_changed_means_no_helm_call(engine: Engine) -> None:
    """K2: counted are Helm's child processes, over resyncs, a restart and changes that do not count."""
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("still", values={"a": 1, "b": {"c": 2}})
    await engine.ready("still")
    await engine.change("still", values={"b": {"c": 2}, "a": 1.0}, timeout="77s", maxRetries=9)
    await engine.ready("still")
    await engine.stop()
    await engine.start()
    await engine.kube.patch(Component, "still", {"metadata": {"annotations": {"x": "y"}}}, NAMESPACE)
    for _ in range(5):
        await asyncio.sleep(0.1)
        await engine.kube.patch(
            type(await engine.ready("still")),
            "still",
            {"metadata": {"annotations": {"x": str(_)}}},
            NAMESPACE,
        )
    assert engine.helm_calls == ["upgrade still"]


async def test_new_bytes_under_an_old_version_are_installed(engine: Engine) -> None:
    engine.upload(chart("again", values={"colour": "blue"}))
    await engine.start()
    await engine.create("again", chart={"name": "again"})
    await engine.ready("again")
    replaced = chart("again", values={"colour": "red"})
    engine.upload(replaced)
    looks = 0
    while (await engine.kube.get(Component, "again", NAMESPACE)).status.release_version != 2:
        looks += 1  # what was fetched a moment ago is not fetched again
        note = {"metadata": {"annotations": {"look": str(looks)}}}
        await engine.kube.patch(Component, "again", note, NAMESPACE)
        await asyncio.sleep(0.3)
    second = await engine.until(
        "again", lambda c: c.status.release_version == 2 and c.status.phase == "Running"
    )
    assert second.status.chart
    assert second.status.chart.digest == hashlib.sha256(replaced).hexdigest()
    assert engine.kubectl("get", "configmap", "again-settings", "-o", "jsonpath={.data.colour}") == "red"


async def test_a_disabled_component_is_uninstalled_and_comes_back(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("switch")
    await engine.ready("switch")
    await engine.change("switch", enabled=False)
    off = await engine.until("switch", lambda c: c.status.phase == "Disabled")
    assert off.status.observed_hash == ""
    assert condition(off, "Ready") == ("False", "Disabled")
    assert "switch-settings" not in engine.kubectl("get", "configmap", "-o", "name", "-n", NAMESPACE)
    await engine.change("switch", enabled=True)
    await engine.ready("switch")
    assert engine.verbs() == ["upgrade", "uninstall", "upgrade"]


async def test_a_range_takes_the_newest_version_that_fits(engine: Engine) -> None:
    for version in ("1.0.0", "1.4.0", "2.0.0-rc.1", "2.0.0"):
        engine.upload(chart("ranged", version))
    await engine.start()
    await engine.create("ranged", "^1.0", chart={"name": "ranged"})
    ready = await engine.ready("ranged")
    assert ready.status.chart
    assert ready.status.chart.version == "1.4.0"
    await engine.create("newest", "", chart={"name": "ranged"})
    ready = await engine.ready("newest")
    assert ready.status.chart
    assert ready.status.chart.version == "2.0.0"


async def test_no_more_than_three_helm_runs_at_once(engine: Engine) -> None:
    engine.upload(chart("web"))
    noted = f"{engine.folder}/at-once"
    three = f"for n in $(seq 600); do [ $(grep -c + {noted}) -ge 3 ] && break; sleep 0.1; done"
    engine.before_helm(f"echo + >> {noted}; {three}; sleep 0.7; echo - >> {noted}")
    await engine.start()
    names = [f"many-{number}" for number in range(7)]
    await asyncio.gather(*(engine.create(name) for name in names))
    for name in names:
        await engine.ready(name, within_s=120)
    running = most = 0
    for line in (engine.folder / "at-once").read_text().split():
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == 3


async def test_values_come_from_secrets_and_configmaps_too(engine: Engine) -> None:
    engine.upload(chart("web"))
    engine.kubectl("create", "configmap", "base", "--from-literal=values.yaml={colour: red, other: kept}")
    engine.kubectl("create", "secret", "generic", "top", "--from-literal=more={colour: green}")
    sources = [
        {"kind": "ConfigMap", "name": "base"},
        {"kind": "Secret", "name": "top", "key": "more"},
        {"kind": "Secret", "name": "absent", "optional": True},
    ]
    await engine.start()
    await engine.create("layered", valuesFrom=sources)
    await engine.ready("layered")
    assert engine.kubectl("get", "configmap", "layered-settings", "-o", "jsonpath={.data.colour}") == "green"
    await engine.create("lacking", valuesFrom=[{"kind": "Secret", "name": "absent"}])
    lacking = await engine.until("lacking", has("Ready", "False", "ValuesMissing"))
    assert "Secret default/absent" in lacking.status.message
    engine.kubectl("delete", "configmap/base", "secret/top")


async def test_the_images_own_charts_need_no_museum(engine: Engine) -> None:
    (engine.folder / "builtin").mkdir()
    (engine.folder / "builtin/part-1.0.0.tgz").write_bytes(chart("part"))
    (engine.folder / "builtin/part-1.1.0.tgz").write_bytes(chart("part", "1.1.0"))
    await engine.start(museum_url="http://127.0.0.1:9")
    await engine.create("part", "1.0.0", chart={"name": "part", "repository": "builtin"})
    await engine.ready("part")
    await engine.change("part", version="")
    ready = await engine.until(
        "part", lambda c: c.status.release_version == 2 and c.status.phase == "Running"
    )
    assert ready.status.chart
    assert ready.status.chart.version == "1.1.0"


async def test_a_settled_component_asks_the_api_server_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("quiet")
    await engine.ready("quiet")
    await engine.until("quiet", lambda c: engine.is_quiet("quiet"))
    annotated = "annotate", "component", "quiet", "--overwrite"
    asked: list[str] = []
    request, raw = Transport.request, Transport.raw

    async def note_request(self: Transport, call: Call) -> Answer:
        asked.append(f"{call.method} {call.path}")
        return await request(self, call)

    async def note_raw(self: Transport, call: Call, **more: Any) -> ClientResponse:
        asked.append(f"{call.method} {call.path}")
        return await raw(self, call, **more)

    monkeypatch.setattr(Transport, "request", note_request)
    monkeypatch.setattr(Transport, "raw", note_raw)

    async def looked(number: int) -> list[str]:
        """What is asked for three changes of no consequence."""
        asked.clear()
        for look in range(3):
            await asyncio.to_thread(engine.kubectl, *annotated, f"look={number}-{look}")
            await asyncio.sleep(0.5)
        return [path for path in asked if "lease" not in path]

    # The last look of the installation may still come, and late on a busy machine; then there is none.
    rounds = [await looked(0)]
    while rounds[-1] and len(rounds) < 20:
        rounds.append(await looked(len(rounds)))
    assert rounds[-1] == [], rounds
