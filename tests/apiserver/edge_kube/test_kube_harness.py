"""The harness itself: a room runs against a real API server, and nothing is left for the next test."""

import pytest
from tests.apiserver.edge_kube.kinds import Press, press, press_room

from edge_kube.core import ConfigMap, Namespace
from edge_kube.harness import Kube, MutationDetector
from edge_kube.harness.mutation import MutatedError
from edge_kube.meta import ObjectMeta


async def test_a_room_repairs_what_somebody_deleted(kube: Kube) -> None:
    await kube.start(press_room())
    await kube.create(press("daily", title="News"))
    page = await kube.eventually(ConfigMap, "daily-page", namespace="default")
    assert page.data == {"title": "News"}
    await kube.delete(ConfigMap, "daily-page", "default")
    await kube.eventually(ConfigMap, "daily-page", namespace="default")
    done = await kube.eventually(Press, "daily", lambda found: found.status.printed == 3, namespace="default")
    assert done.status.conditions[0].last_transition_time
    await kube.delete(ConfigMap, "daily-page", "default")


async def test_a_killed_room_goes_on_where_it_was(kube: Kube) -> None:
    await kube.start(press_room())
    await kube.kill()
    await kube.create(press("daily", title="News"))
    await kube.start(press_room())
    await kube.eventually(
        ConfigMap, "daily-page", lambda page: page.data["title"] == "News", namespace="default"
    )
    await kube.delete(ConfigMap, "daily-page", "default")


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_the_next_test_finds_no_namespace_of_the_last_one(kube: Kube, turn: str) -> None:
    await kube.create(Namespace(metadata=ObjectMeta(name="printing-works")))
    assert await kube.list(ConfigMap, "printing-works") == []
    await kube.create(ConfigMap(metadata=ObjectMeta(name=turn, namespace="printing-works")))


async def test_a_changed_cached_object_is_found(kube: Kube) -> None:
    manager = await kube.start(press_room())
    await kube.create(ConfigMap(metadata=ObjectMeta(name="plain", namespace="default"), data={"a": "1"}))
    informer = manager.cache.informer(ConfigMap)
    await kube.eventually(ConfigMap, "plain", lambda _: bool(informer.list("default")), namespace="default")
    detector = MutationDetector()
    detector.attach(manager.cache)
    cached = next(page for page in informer.list("default") if page.metadata.name == "plain")
    cached.data["a"] = "2"  # type: ignore[index]  # what the type checker refuses, for once
    with pytest.raises(MutatedError, match="ConfigMap default/plain"):
        detector.check()
    cached.data["a"] = "1"  # type: ignore[index]
    await kube.delete(ConfigMap, "plain", "default")
