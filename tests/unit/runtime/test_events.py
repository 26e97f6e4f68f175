"""Events: the first at once, repeats counted, never a flood, never an error for the reconcile."""

import pytest

from edge_kube.core import ConfigMap, Event
from edge_kube.errors import ConnectionFailed, NotFound
from edge_kube.events import Events
from edge_kube.meta import Key, Manifest, ObjectMeta
from edge_kube.metrics import Metrics


class Sink:
    def __init__(self) -> None:
        self.created: list[Event] = []
        self.patched: list[Manifest] = []
        self.fails: Exception | None = None

    async def create(self, obj: Event, *, manager: str) -> Event:
        if self.fails:
            raise self.fails
        self.created.append(obj)
        return obj

    async def merge(self, cls: type[Event], key: Key, patch: Manifest) -> Event:
        if self.fails:
            raise self.fails
        self.patched.append(patch)
        return next(event for event in self.created if event.metadata.name == key.name)


class Bench:
    def __init__(self) -> None:
        self.sink = Sink()
        self.metrics = Metrics()
        self.now = 0.0
        self.events = Events(
            self.sink,
            component="edge-controller",
            instance="pod-a",
            metrics=self.metrics,
            clock=lambda: self.now,
        )

    @property
    def dropped(self) -> float:
        return self.metrics.events_dropped._value.get()  # type: ignore[attr-defined]


def about(name: str = "one", namespace: str = "press") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}"))


async def test_the_first_is_sent_and_repeats_are_counted_once_a_minute() -> None:
    bench = Bench()
    for _ in range(3):
        bench.events.emit(about(), "Warning", "Stalled", "why")
    await bench.events.send_new()
    assert [event.reason for event in bench.sink.created] == ["Stalled"]
    await bench.events.send_repeats()
    assert [patch["series"]["count"] for patch in bench.sink.patched] == [3]
    await bench.events.send_repeats()  # a minute of silence ends the series
    bench.events.emit(about(), "Warning", "Stalled", "again")
    await bench.events.send_new()
    assert len(bench.sink.created) == 2


async def test_one_object_may_not_flood() -> None:
    bench = Bench()
    for number in range(40):
        bench.events.emit(about(), "Normal", f"Reason{number}", "note")
    bench.events.emit(about("other"), "Normal", "Reason", "note")
    await bench.events.send_new()
    assert len(bench.sink.created) == 26
    assert bench.dropped == 15
    bench.now = 301.0
    bench.events.emit(about(), "Normal", "Later", "note")
    await bench.events.send_new()
    assert bench.sink.created[-1].reason == "Later"


async def test_events_of_cluster_scoped_objects_go_to_default_and_notes_are_cut() -> None:
    bench = Bench()
    bench.events.emit(about(namespace=""), "Normal", "Made", "ü" * 2000)
    await bench.events.send_new()
    (event,) = bench.sink.created
    assert event.metadata.namespace == "default"
    assert len(event.note.encode()) <= 1024


@pytest.mark.parametrize("error", [ConnectionFailed("no answer"), NotFound(404)])
async def test_a_server_that_does_not_take_them_costs_nothing(error: Exception) -> None:
    bench = Bench()
    bench.sink.fails = error
    bench.events.emit(about(), "Normal", "Made", "note")
    await bench.events.flush()
    assert bench.dropped == 1
