"""Live watches, logs and shells end with the right behind them (I6; design §5.5)."""

import asyncio
from collections.abc import Callable

from edge.apiserver.rights.streams import Streams
from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.types import PolicyRule

RULE = PolicyRule(verbs=("watch",), api_groups=("",), resources=("pods",))
SCOPE = "n/host/press"


class Watches:
    """Streams of many users, each of which may go on while its right holds."""

    def __init__(self, *users: str) -> None:
        self.index = Index()
        self.streams = Streams()
        self.index.on_drop = self.streams.rights_changed
        self.index.put_scope(SCOPE)
        self.index.put_role(RoleFacts("reader", "namespace", "", (RULE,), (), None))
        for user in users:
            self.index.put_user(user, ())

    def may(self, user: str) -> bool:
        return self.index.check(user, SCOPE, "watch", "", "pods")

    async def open(self, user: str) -> "asyncio.Task[None]":
        """A stream that waits for ever."""
        begun = asyncio.Event()

        async def stream(may_go_on: Callable[[], bool]) -> None:
            with self.streams.running(user, may_go_on):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(stream(lambda: self.may(user)))
        await begun.wait()
        return task

    def bind(self, name: str, *subjects: str) -> None:
        self.index.put_binding(Binding(name, "reader", SCOPE, subjects))


async def test_a_stream_ends_with_the_event_that_takes_its_right_and_others_live_on() -> None:
    watches = Watches("ann", "bob")
    watches.bind("both", "User:ann", "User:bob")
    assert watches.may("ann")
    assert watches.may("bob")
    ann, bob = await watches.open("ann"), await watches.open("bob")
    watches.bind("both", "User:bob")
    await asyncio.wait([ann], timeout=60)
    assert ann.cancelled()
    assert not bob.done()
    assert len(watches.streams) == 1
    watches.streams.end_all()
    await asyncio.wait([bob], timeout=60)
    assert len(watches.streams) == 0


async def test_a_binding_that_changes_and_still_allows_ends_no_stream() -> None:
    watches = Watches("ann")
    watches.bind("one", "User:ann")
    assert watches.may("ann")
    ann = await watches.open("ann")
    watches.bind("one", "User:ann", "User:bob")
    await asyncio.sleep(0)
    assert not ann.done()
    ann.cancel()


async def test_a_stream_in_anothers_name_counts_once_and_ends_with_either_right() -> None:
    for loses in ("ann", "bob"):
        watches = Watches("ann", "bob")
        for user in ("ann", "bob"):
            watches.bind(user, f"User:{user}")
        begun = asyncio.Event()

        async def stream(watches: Watches = watches, begun: asyncio.Event = begun) -> None:
            with watches.streams.running("bob", lambda: watches.may("ann") and watches.may("bob"), "ann"):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(stream())
        await begun.wait()
        assert watches.may("ann")
        assert watches.may("bob")
        assert len(watches.streams) == 1
        watches.bind(loses)
        await asyncio.wait([task], timeout=60)
        assert task.cancelled(), loses
        assert not watches.streams.has("ann")
        assert not watches.streams.has("bob")


async def test_an_event_that_touches_everybody_ends_streams_in_slices() -> None:
    users = [f"user-{n}" for n in range(1200)]
    watches = Watches(*users)
    watches.bind("all", "Group:system:authenticated")
    assert all(map(watches.may, users))
    tasks = [await watches.open(user) for user in users]
    watches.index.drop_role("reader")
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks), "a wide event leaves the work to later turns"
    turns = 1
    while watches.streams.sweep(100):
        turns += 1
    await asyncio.wait(tasks, timeout=60)
    assert all(task.cancelled() for task in tasks)
    assert turns == 12
