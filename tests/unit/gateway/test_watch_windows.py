"""Windows of the watch socket, whatever happens in whatever order (G3; console §5.4)."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.watching import Model

from edge.apiserver.mirrors.store import Collection, Served, Stored
from edge.apiserver.watching.conversation import Conversation
from edge.apiserver.watching.protocol import UNACKED_MAX, Rows
from edge.apiserver.watching.views import Held, Id, Source, View
from edge.apiserver.watching.window import Row
from edge_kube.meta import Key

SERVED = Served("g", "v1", "things", "Thing")
ASKED = Rows("g", "v1", "things")
LIMIT = 3
NAMES = st.sampled_from("abcdef")


def spec(stored: Stored) -> dict[str, Any]:
    return json.loads(stored.raw)["spec"]


def uid(stored: Stored) -> str:
    return json.loads(stored.raw)["metadata"]["uid"]


@dataclass
class Machine:
    """Objects, the window over them that one client has, and what the client knows from frames alone."""

    collection: Collection = field(default_factory=lambda: Collection(SERVED))
    talk: Conversation = field(default_factory=lambda: Conversation(0.0))
    client: Model = field(default_factory=Model)
    now_s: float = 0.0
    version: int = 0

    def __post_init__(self) -> None:
        self.view = View(
            Source(
                collections=(self.collection,),
                columns=("size", "colour"),
                sees=lambda _, stored: not spec(stored)["secret"],
                place=lambda _, stored: (spec(stored)["size"], stored.key.name, uid(stored)),
                row=lambda _, stored: Row(
                    uid(stored), (stored.key.name, "", ""), (spec(stored)["size"], spec(stored)["colour"])
                ),
            )
        )
        for _ in self.view.build():
            pass
        self.talk.begin(1, ASKED)
        self.held: Held | None = None
        self.apply()

    def put(self, name: str, size: int, colour: str, *, secret: bool, anew: bool) -> None:
        self.version += 1
        key = Key("", name)
        have = self.collection.get(key)
        if have is not None and anew:
            self.collection.drop(key)
        old = uid(have) if have is not None and not anew else f"{name}-{self.version}"
        obj = {
            "metadata": {"name": name, "uid": old, "resourceVersion": str(self.version)},
            "spec": {"size": size, "colour": colour, "secret": secret},
        }
        self.collection.put(json.dumps(obj).encode())
        self.view.touched([Id(0, key)])

    def drop(self, name: str) -> None:
        self.collection.drop(Key("", name))
        self.view.touched([Id(0, Key("", name))])

    def apply(self) -> None:
        if self.held is not None:
            self.held.release()
        self.held = Held(self.view, 0, LIMIT, lambda: self.talk.woken(1), lambda: None)
        self.talk.opened(1, self.held)

    def flush(self, seconds: float) -> None:
        self.now_s += seconds
        for frame in self.talk.frames(self.now_s):
            self.client.take(json.loads(frame))

    def ack(self) -> None:
        assert self.talk.flow.acked(self.talk.flow.seq, self.now_s)

    def settle(self) -> None:
        """All that is owed goes out."""
        for _ in range(3):
            self.ack()
            self.flush(10)

    def expected(self) -> list[tuple[str, int, str]]:
        seen = [stored for stored in self.collection if not spec(stored)["secret"]]
        seen.sort(key=lambda stored: (spec(stored)["size"], stored.key.name, uid(stored)))
        return [(uid(one), spec(one)["size"], spec(one)["colour"]) for one in seen[:LIMIT]]

    def known(self) -> list[tuple[str, int, str]]:
        return [
            (k, row["size"], row["colour"])
            for k, row in self.client.rows.items()
            if k not in self.client.gone
        ]


STEP = st.one_of(
    st.tuples(
        st.just("put"),
        NAMES,
        st.integers(0, 4),
        st.sampled_from(("red", "blue")),
        st.booleans(),
        st.booleans(),
    ),
    st.tuples(st.just("drop"), NAMES),
    st.tuples(st.just("apply")),
    st.tuples(st.just("ack")),
    st.tuples(st.just("flush"), st.sampled_from((0.0, 0.1, 0.3, 6.0))),
)


def carry_out(machine: Machine, step: tuple[Any, ...]) -> None:
    match step:
        case ("put", name, size, colour, secret, anew):
            machine.put(name, size, colour, secret=secret and size == 0, anew=anew)
        case ("drop", name):
            machine.drop(name)
        case ("apply",):
            machine.apply()
        case ("ack",):
            machine.ack()
        case _:
            _, seconds = step
            machine.flush(seconds)


@settings(max_examples=400)
@given(steps=st.lists(STEP, max_size=60))
def test_after_apply_the_client_has_just_the_window_of_the_server(steps: list[tuple[Any, ...]]) -> None:
    machine = Machine()
    for step in steps:
        carry_out(machine, step)
    machine.apply()
    machine.settle()
    assert machine.known() == machine.expected()
    assert machine.client.total == len(
        [stored for stored in machine.collection if not spec(stored)["secret"]]
    )
    assert machine.held is not None
    assert machine.client.rv == machine.held.rv


@settings(max_examples=400)
@given(steps=st.lists(STEP, max_size=60))
def test_without_apply_rows_stay_in_place_and_pending_counts_what_a_new_window_would_bring(
    steps: list[tuple[Any, ...]],
) -> None:
    machine = Machine()
    for step in steps:
        carry_out(machine, step)
    machine.settle()
    live = {uid(one): one for one in machine.collection if not spec(one)["secret"]}
    for k, size, colour in machine.known():
        assert (size, colour) == (spec(live[k])["size"], spec(live[k])["colour"])
    assert machine.client.gone == set(machine.client.rows) - set(live)
    now, had = [k for k, _, _ in machine.expected()], list(machine.client.rows)
    pending = machine.client.pending or {"added": 0, "removed": 0, "reordered": False}
    assert pending["added"] == len(set(now) - set(had))
    assert pending["removed"] == len(set(had) - set(now))
    assert pending["reordered"] == ([k for k in had if k in now] != [k for k in now if k in had])


@settings(max_examples=100)
@given(steps=st.lists(STEP, min_size=200, max_size=300))
def test_a_client_that_never_acknowledges_costs_a_window_and_no_more(steps: list[tuple[Any, ...]]) -> None:
    machine = Machine()
    sent = 0
    for step in steps:
        if step[0] == "ack":
            continue
        carry_out(machine, step)
        sent = machine.talk.flow.seq
    assert sent <= UNACKED_MAX
    assert len(machine.view.panels) == 1
    assert machine.held is not None
    assert len(machine.held.window) <= LIMIT
    machine.settle()
    live = {uid(one): one for one in machine.collection if not spec(one)["secret"]}
    assert all(size == spec(live[k])["size"] for k, size, _ in machine.known())


def test_two_clients_of_one_query_share_a_window_until_it_has_moved_on() -> None:
    machine = Machine()
    assert machine.held is not None
    other = Held(machine.view, 0, LIMIT, lambda: None, lambda: None)
    assert other.window is machine.held.window
    machine.put("a", 1, "red", secret=False, anew=False)
    assert Held(machine.view, 0, LIMIT, lambda: None, lambda: None).window is not machine.held.window
    assert len(machine.view.panels) == 2


def test_the_same_delta_is_the_same_bytes_for_all() -> None:
    machine = Machine()
    machine.put("a", 1, "red", secret=False, anew=False)
    machine.apply()
    assert machine.held is not None
    window = machine.held.window
    since = window.tick
    machine.put("a", 1, "blue", secret=False, anew=False)
    assert window.delta(since) is window.delta(since)
    assert json.loads(window.delta(since))["set"] == [[next(iter(window.rows())).k, {"colour": "blue"}]]


def test_an_object_that_is_not_understood_costs_the_others_nothing() -> None:
    """A member cluster may send anything."""
    machine = Machine()
    machine.put("a", 1, "red", secret=False, anew=False)
    strange = {"metadata": {"name": "b", "uid": "u", "resourceVersion": "77"}, "spec": "none"}
    machine.collection.put(json.dumps(strange).encode())
    machine.version = 77
    machine.put("c", 2, "blue", secret=False, anew=False)
    machine.view.touched([Id(0, Key("", name)) for name in "abc"])
    machine.apply()
    machine.settle()
    assert machine.client.names == ["a", "c"]
    machine.put("b", 3, "red", secret=False, anew=True)
    machine.apply()
    machine.settle()
    assert machine.client.names == ["a", "c", "b"]


def test_a_new_window_has_the_facets_of_now_though_its_rows_are_the_same() -> None:
    machine = Machine()

    def colours(found: Iterable[tuple[int, Stored]]) -> dict[str, Any]:
        return {"colour": dict(Counter(spec(stored)["colour"] for _, stored in found))}

    machine.view.source = replace(machine.view.source, facets=colours)
    for number, name in enumerate("abcde"):
        machine.put(name, number, "red", secret=False, anew=False)
    machine.apply()
    first = Held(machine.view, 0, LIMIT, lambda: None, lambda: None)
    machine.put("e", 4, "blue", secret=False, anew=False)  # beyond the window
    machine.put("a", 0, "blue", secret=False, anew=False)  # in it, in the same place
    second = Held(machine.view, 0, LIMIT, lambda: None, lambda: None)
    assert json.loads(second.snap())["facets"] == {"colour": {"red": 3, "blue": 2}}
    assert json.loads(first.snap())["facets"] == {"colour": {"red": 3, "blue": 2}}
    assert first.window is second.window, "they are shared again"
