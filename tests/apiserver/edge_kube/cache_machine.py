"""A stateful test of the cache: anything may happen to objects and to watches, then the copy must be exact.

The machine changes ConfigMaps at a real API server, while the cache sees them through a proxy that cuts,
delays, duplicates, reorders, expires and refuses. `check` lets everything settle and compares: the store with
a list of the server, each index with one computed anew, and a replica that was built of deltas alone.
"""

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from aiohttp.web import BaseRequest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edge_kube.backoff import Backoff
from edge_kube.cache import Cache, Delta, Informer
from edge_kube.client import Client
from edge_kube.core import ConfigMap, Namespace
from edge_kube.errors import AlreadyExists, Invalid, NotFound
from edge_kube.harness import LightCluster
from edge_kube.harness.proxy import GONE_BODY, Canned, FaultProxy
from edge_kube.meta import Key, ObjectMeta, key_of
from edge_kube.reconcile import Index
from edge_kube.reflector import Timing

R = TypeVar("R")

TIMING = Timing(
    backoff=Backoff(base_s=0.02, cap_s=0.1), idle_s=1.0, initial_idle_s=5.0, short_s=0.0, watch_s=(2, 4)
)
SETTLE_S = 60.0
NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["1", "2", "3"])
CUTS = st.sampled_from(["reset", "end", "middle of a line"])
SOMETIMES = st.sampled_from([0.0, 0.5])
STEPS = st.lists(
    st.tuples(NAMES, st.sampled_from(["create", "change", "delete", "change and delete", "anew"])),
    min_size=1,
    max_size=5,
)

_numbers = itertools.count()


def by_value(page: ConfigMap) -> Iterable[str]:
    return page.data.values()


def _is_resumed_watch(request: BaseRequest) -> bool:
    return "watch" in request.query and "sendInitialEvents" not in request.query


class Replica:
    """Objects as deltas alone tell of them; each delta is checked against what was told before."""

    def __init__(self) -> None:
        self.objects: dict[Key, ConfigMap] = {}
        self.errors: list[str] = []

    def handle(self, delta: Delta[ConfigMap]) -> None:
        obj = delta.new or delta.old
        if obj is None or delta.op == "resync":
            return
        key = key_of(obj)
        have = self.objects.get(key)
        if delta.old is not have:
            self.errors.append(f"{delta.op} {key}: the old object is not the one that was told last")
        if delta.op == "modified" and have is not None and delta.new is not None:
            if have.metadata.uid != delta.new.metadata.uid:
                self.errors.append(f"modified {key}: another uid")
            if int(delta.new.metadata.resource_version) <= int(have.metadata.resource_version):
                self.errors.append(f"modified {key}: the version did not grow")
        if delta.new is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = delta.new


class CacheMachine(RuleBasedStateMachine):
    """Set `cluster` in a subclass. The event loop runs in a thread, so that watches move between rules."""

    cluster: LightCluster
    with_server_faults = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.number = next(_numbers)
        self.namespace = f"machine-{self.number}"
        self.cache: Cache | None = None
        self.informer: Informer[ConfigMap] | None = None

    def do(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(180)

    @initialize(watch_list=st.booleans(), filtered=st.booleans())
    def begin(self, watch_list: bool, filtered: bool) -> None:
        self.labels = "in=yes" if filtered else ""
        self.do(self._begin(watch_list))

    async def _begin(self, watch_list: bool) -> None:
        self.client = self.cluster.client().derive(limited=False)
        self.proxy = FaultProxy(self.cluster.connection, seed=self.number)
        await self.proxy.__aenter__()
        self.proxy.watch_list = watch_list
        self.proxied = Client(self.proxy.connection)
        await self.client.create(Namespace(metadata=ObjectMeta(name=self.namespace)), manager="test")
        await self._start_cache()

    async def _start_cache(self) -> None:
        self.cache = Cache(self.proxied, timing=TIMING)
        self.cache.index(Index(ConfigMap, "value", by_value))
        self.informer = self.cache.informer(ConfigMap, ns=self.namespace, labels=self.labels)
        self.replica = Replica()
        self.informer.on(self.replica.handle)
        await self.cache.start()

    # -- what happens to objects -----------------------------------------------------------------------------

    @rule(name=NAMES, value=VALUES, inside=st.booleans())
    def create(self, name: str, value: str, inside: bool) -> None:
        self.do(self._create(name, value, inside))

    async def _create(self, name: str, value: str, inside: bool) -> ConfigMap | None:
        labels = {"in": "yes" if inside else "no"}
        meta = ObjectMeta(name=name, namespace=self.namespace, labels=labels)
        try:
            return await self.client.create(ConfigMap(metadata=meta, data={"v": value}), manager="test")
        except AlreadyExists:
            return None

    @rule(name=NAMES, value=VALUES)
    def change(self, name: str, value: str) -> None:
        self.do(self._merge(name, {"data": {"v": value}}))

    @rule(name=NAMES, inside=st.booleans())
    def move_into_or_out_of_the_selector(self, name: str, inside: bool) -> None:
        self.do(self._merge(name, {"metadata": {"labels": {"in": "yes" if inside else "no"}}}))

    @rule(name=NAMES, held=st.booleans())
    def hold_by_finalizer_or_let_go(self, name: str, held: bool) -> None:
        self.do(self._merge(name, {"metadata": {"finalizers": ["test.edge/held"] if held else None}}))

    @rule(name=NAMES, value=VALUES)
    def change_by_ourselves(self, name: str, value: str) -> None:
        self.do(self._own_write(name, value))

    async def _own_write(self, name: str, value: str) -> None:
        written = await self._merge(name, {"data": {"own": value}})
        if written is not None and self.cache is not None:
            self.cache.write_through(written)

    async def _merge(self, name: str, patch: dict[str, Any]) -> ConfigMap | None:
        try:
            return await self.client.merge(ConfigMap, Key(self.namespace, name), patch)
        except NotFound:
            return None
        except Invalid:  # no finalizer can be added to what is being deleted
            return None

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.do(self.client.delete(ConfigMap, name, self.namespace))

    @rule(name=NAMES, value=VALUES)
    def delete_and_create_again(self, name: str, value: str) -> None:
        self.do(self.client.delete(ConfigMap, name, self.namespace))
        self.do(self._create(name, value, inside=True))

    @rule(steps=STEPS, duplicate=SOMETIMES, reorder=SOMETIMES)
    def change_much_while_events_are_mixed_up(self, steps: Any, duplicate: float, reorder: float) -> None:
        self.proxy.duplicate, self.proxy.reorder = duplicate, reorder
        self.do(self._steps(steps))

    @rule(steps=STEPS, expired=st.booleans())
    def change_much_while_nobody_looks(self, steps: Any, expired: bool) -> None:
        """The history is gone when the watch comes back: only a list can tell what was deleted."""
        self.do(self._unseen(steps, expired))

    async def _unseen(self, steps: Any, expired: bool) -> None:
        self.proxy.stall()
        await self._steps(steps)
        if expired:
            self.proxy.expire()
            self.proxy.answer(Canned(410, GONE_BODY), to=_is_resumed_watch)
        else:
            self.proxy.cut()
        self.proxy.resume()

    async def _steps(self, steps: Any) -> None:
        for name, act in steps:
            if "change" in act:
                await self._merge(name, {"data": {"v": str(next(_numbers))}})
            if "delete" in act or act == "anew":
                await self.client.delete(ConfigMap, name, self.namespace)
            if act in {"create", "anew"}:
                await self._create(name, "1", inside=True)

    # -- what happens to watches -----------------------------------------------------------------------------

    @rule(how=CUTS)
    def cut(self, how: Any) -> None:
        self.do(self._in_loop(lambda: self.proxy.cut(how)))

    @rule()
    def expire(self) -> None:
        self.do(self._in_loop(self.proxy.expire))

    @rule(times=st.integers(1, 3))
    def refuse_watches_with_410(self, times: int) -> None:
        gone = Canned(410, GONE_BODY)
        self.do(
            self._in_loop(lambda: self.proxy.answer(gone, times=times, to=lambda req: "watch" in req.query))
        )
        self.cut("reset")

    @rule(status=st.sampled_from([429, 500, 503, 200]), times=st.integers(1, 2))
    def answer_nonsense(self, status: int, times: int) -> None:
        html = Canned(status, b"<html>nobody is here</html>")
        self.do(self._in_loop(lambda: self.proxy.answer(html, times=times)))
        self.cut("end")

    @rule(duplicate=SOMETIMES, reorder=SOMETIMES, delay_s=st.sampled_from([0.0, 0.02]), drip=st.booleans())
    def disturb(self, duplicate: float, reorder: float, delay_s: float, drip: bool) -> None:
        self.proxy.duplicate, self.proxy.reorder = duplicate, reorder
        self.proxy.delay_s, self.proxy.drip = delay_s, drip

    @rule()
    def stall(self) -> None:
        self.do(self._in_loop(self.proxy.stall))

    @rule()
    def go_on(self) -> None:
        self.do(self._in_loop(self.proxy.resume))

    @rule()
    def restart_the_cache(self) -> None:
        self.do(self._restart())

    async def _restart(self) -> None:
        if self.cache is not None:
            await self.cache.stop()
        await self._start_cache()

    @precondition(lambda self: self.with_server_faults)
    @rule()
    def compact_and_restart_the_server(self) -> None:
        self.do(self._compact())
        self.cluster.restart_apiserver()

    async def _compact(self) -> None:
        async for listed in self.client.pages(await self.client.kind_for("v1", "Namespace")):
            if listed is not None:
                self.cluster.compact(listed.metadata.resource_version)

    async def _in_loop(self, act: Any) -> None:
        act()

    # -- what must hold --------------------------------------------------------------------------------------

    @rule()
    def check(self) -> None:
        self.do(self._check())

    async def _check(self) -> None:
        informer = self.informer
        if informer is None:
            return
        self.proxy.duplicate = self.proxy.reorder = self.proxy.delay_s = 0.0
        self.proxy.drip = False
        self.proxy.resume()
        # Two: the proxy may hold an event back until the next one has passed it, which is the first marker.
        await self._create(f"marker-{next(_numbers)}", "0", inside=True)
        marker = await self._create(f"marker-{next(_numbers)}", "0", inside=True)
        assert marker is not None
        async with asyncio.timeout(SETTLE_S):
            while informer.get(key_of(marker)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        listed = await self.client.list(ConfigMap, self.namespace, labels=self.labels)
        want = {key_of(page): page for page in listed}
        have = {key_of(page): page for page in informer.list()}
        assert have == want
        for value in {"0", "1", "2", "3"}:
            found = {key_of(page) for page in informer.by("value", value)}
            assert found == {key for key, page in want.items() if value in by_value(page)}
        assert self.replica.objects == have
        assert self.replica.errors == []

    def teardown(self) -> None:
        try:
            if self.informer is not None:
                self.check()
        finally:
            self.do(self._end())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(60)
            self.loop.close()

    async def _end(self) -> None:
        if self.cache is None:
            return
        await self.cache.stop()
        await self.proxied.close()
        await self.proxy.__aexit__()
        for page in await self.client.list(ConfigMap, self.namespace):
            await self.client.delete(ConfigMap, page.metadata.name, self.namespace)
            await self._merge(page.metadata.name, {"metadata": {"finalizers": None}})
        await self.client.delete(Namespace, self.namespace)
        await self.client.close()
