"""Dependencies: upstreams first, cycles refused by name, removal in reverse (K4, K9)."""

import asyncio

import pytest
from tests.support.charts import chart
from tests.support.engine import NAMESPACE, Engine, condition, has

from edge.components.types import Component
from edge_kube.errors import Invalid
from edge_sdk.scopes import FORCE_DELETE_ANNOTATION


def _needs(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


async def test_upstreams_are_installed_first(engine: Engine) -> None:
    engine.upload(chart("web"))
    engine.before_helm("sleep 0.3")
    await engine.start()
    await engine.create("panel", dependencies=_needs("grafana"))
    await engine.create("grafana", dependencies=_needs("prometheus"))
    waiting = await engine.until("grafana", has("Ready", "False", "DependencyMissing"))
    assert "default/prometheus does not exist" in waiting.status.message
    await engine.create("prometheus")
    for name in ("prometheus", "grafana", "panel"):
        done = await engine.ready(name)
        assert condition(done, "DependenciesReady") == ("True", "DependenciesReady")
    assert engine.helm_calls == ["upgrade prometheus", "upgrade grafana", "upgrade panel"]


async def test_they_are_removed_in_reverse(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("base")
    await engine.create("middle", dependencies=_needs("base"))
    await engine.create("top", dependencies=_needs("middle"))
    for name in ("base", "middle", "top"):
        await engine.ready(name)
    await asyncio.gather(*(engine.kube.delete(Component, n, NAMESPACE) for n in ("base", "middle", "top")))
    for name in ("top", "middle", "base"):
        await engine.kube.gone(Component, name, namespace=NAMESPACE)
    assert engine.helm_calls[3:] == ["uninstall top", "uninstall middle", "uninstall base"]


async def test_one_that_is_needed_is_not_taken_away(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("needed")
    await engine.create("needing", dependencies=_needs("needed"))
    await engine.ready("needing")
    await engine.change("needed", enabled=False)
    held = await engine.until("needed", lambda c: condition(c, "Ready")[1] == "HasDependents")
    assert "default/needing still need it" in held.status.message
    await engine.change("needing", enabled=False)
    await engine.until("needed", lambda c: c.status.phase == "Disabled")
    assert engine.helm_calls[2:] == ["uninstall needing", "uninstall needed"]


async def test_a_cycle_is_refused_by_name_and_none_of_it_is_touched(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("c", dependencies=_needs("a"))
    await engine.create("b", dependencies=_needs("c"))
    await engine.create("a", dependencies=_needs("b"))
    for name in ("a", "b", "c"):
        refused = await engine.until(name, has("Ready", "False", "DependencyCycle"))
        assert "a → b → c → a need each other" in refused.status.message
        assert condition(refused, "DependenciesReady") == ("False", "DependencyCycle")
        assert refused.status.phase == "Blocked"
    assert engine.helm_calls == []
    await engine.change("a", dependencies=[])
    for name in ("a", "c", "b"):
        await engine.ready(name)


async def test_a_version_outside_the_range_is_named(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("old")
    await engine.create("picky", dependencies=[{"name": "old", "version": ">=2"}])
    blocked = await engine.until("picky", has("Ready", "False", "DependencyVersion"))
    assert "default/old >=2, found 1.0.0" in blocked.status.message


async def test_an_optional_upstream_need_not_exist(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("easy", dependencies=[{"name": "nobody", "optional": True}])
    await engine.ready("easy")


async def test_what_is_needed_is_brought_in_and_leaves_with_its_last_user(engine: Engine) -> None:
    for name in ("loki", "logging", "panel"):
        engine.upload(chart(name))
    await engine.start()
    await engine.create("logging", chart={"name": "logging"}, dependencies=_needs("loki"))
    await engine.ready("logging")
    brought = await engine.ready("loki")
    assert brought.metadata.labels["ext.theriseunion.io/auto-dependency"] == "true"
    await engine.create("panel", chart={"name": "panel"}, dependencies=_needs("loki"))
    await engine.ready("panel")
    await engine.kube.delete(Component, "logging", NAMESPACE)
    await engine.kube.gone(Component, "logging", namespace=NAMESPACE)
    await engine.ready("loki")
    await engine.kube.delete(Component, "panel", NAMESPACE)
    await engine.kube.gone(Component, "loki", namespace=NAMESPACE)
    assert engine.helm_calls[-2:] == ["uninstall panel", "uninstall loki"]


async def test_a_cycle_of_one_is_refused_at_admission(engine: Engine) -> None:
    await engine.start(webhooks=True)
    with pytest.raises(Invalid, match=r"spec\.dependencies\[0\]\.name.*self → self: it would need itself"):
        await engine.create("self", dependencies=_needs("self"))
    with pytest.raises(Invalid, match="neither a version nor a range"):
        await engine.create("typo", "newest")


async def test_a_component_can_be_let_go_by_force(engine: Engine) -> None:
    engine.upload(chart("web"))
    await engine.start()
    await engine.create("kept")
    made = await engine.ready("kept")
    await engine.create("user", dependencies=_needs("kept"))
    await engine.ready("user")
    await engine.kube.delete(Component, "kept", NAMESPACE)
    await engine.until("kept", lambda c: condition(c, "Ready")[1] == "HasDependents")
    annotation = {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: made.metadata.uid}}}
    await engine.kube.patch(Component, "kept", annotation, NAMESPACE)
    await engine.kube.gone(Component, "kept", namespace=NAMESPACE)
    assert engine.kubectl("get", "configmap", "kept-settings", "-o", "name") == "configmap/kept-settings\n"
