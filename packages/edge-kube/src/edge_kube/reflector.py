"""List and watch one kind of one cluster into a store, whatever happens on the way.

             +-------------- any broken stream: resume from the last version, after a pause
             v                                                            |
    START → WATCHLIST --bookmark "initial events end"--> replace → WATCHING
      |  (server does not know it) → LIST pages ------------^         |
      +<------------ 410, or versions out of order: list anew --------+

Promises: the store is only ever replaced as a whole or moved by one event, so it is always a state that the
server had; what a list lacks is reported deleted (R1); time never goes back unless the server's did (R2); a
duplicate changes nothing (R4); a cut keeps what is stored (R5); one bad object does not stop the rest (R6);
nothing of an ended stream is left behind (R7). The task ends by cancellation only.
Source: P1; design kube-runtime §5.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import structlog

from edge_kube.backoff import Backoff
from edge_kube.client import Client, decoder_of
from edge_kube.errors import ApiError, BadRequest, Gone, Invalid, KubeError
from edge_kube.meta import Resource, kind_of
from edge_kube.metrics import Metrics
from edge_kube.transport import REQUEST_DEADLINE_S, Call
from edge_kube.wire import Broken, Envelope, LineSplitter, bare, envelope_of, error_of_body

T = TypeVar("T", bound=Resource)

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class OutOfOrderError(KubeError):
    """The stream showed an older version after a newer one: something was lost or mixed up on the way."""


class Sink(Protocol[T]):
    """What a reflector fills."""

    def __len__(self) -> int: ...

    def replace(self, objects: Sequence[T | Broken], rv: str, *, went_back: bool) -> None:
        """Take over a complete list. went_back: the server's own history did, so older versions count."""
        ...

    def put(self, obj: T | Broken) -> None:
        """Raises OutOfOrderError for a version older than the stored one of the same object."""
        ...

    def remove(self, obj: T) -> None:
        """The server says the object is gone. Raises OutOfOrderError as `put`."""
        ...

    def seen(self, rv: str) -> None:
        """The store is as new as this version."""
        ...

    def stored(self, obj: T) -> T:
        """The stored object when it is the same version, else obj: a list then costs no second copy."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Waits of a reflector, in seconds; tests shorten them."""

    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.8, cap_s=30.0))
    healthy_s: float = 120.0
    """A stream that lived so long clears the count of failures."""
    idle_s: float = 70.0
    """No byte for so long ends the stream. The server sends a bookmark about each minute."""
    initial_idle_s: float = 20.0
    watch_s: tuple[float, float] = (180.0, 240.0)
    """How long a watch is asked to last. Load balancers drop flows after four minutes of silence."""
    short_s: float = 1.0
    slice_s: float = 0.002
    """Decoding yields to the loop after so long."""


@dataclass(slots=True)
class ServerTraits:
    """What was learnt about one server, shared by the reflectors of its kinds."""

    watch_list: bool = True


class Reflector(Generic[T]):
    """`run` it in a task. labels, fields: selectors sent to the server."""

    def __init__(
        self,
        client: Client,
        cls: type[T],
        sink: Sink[T],
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        traits: ServerTraits | None = None,
        timing: Timing | None = None,
        metrics: Metrics | None = None,
        cluster: str = "host",
        objects_max: int = 0,
    ) -> None:
        self._client = client
        self._cls = cls
        self._kind = kind_of(cls)
        self._sink = sink
        self._namespace = namespace
        self._selectors = {
            name: value for name, value in {"labelSelector": labels, "fieldSelector": fields}.items() if value
        }
        self._traits = traits or ServerTraits()
        self._timing = timing or Timing()
        self._metrics = metrics
        self._cluster = cluster
        self._objects_max = objects_max
        self._decoder = decoder_of(cls)
        self._log = structlog.stdlib.get_logger("edge_kube.reflector").bind(
            kind=str(self._kind), cluster=cluster
        )
        self._rv = ""
        self._relist_because = "start"
        self._trust_floor = True
        self._bookmarks_come = False
        self._heard = False
        self._nudge = asyncio.Event()
        self._last_event: tuple[str, str] = ("", "")
        self.contact_at = time.monotonic()
        """When the server was last heard of, by the monotonic clock."""

    def nudge(self) -> None:
        """End a pause between tries now: the server is known to answer again."""
        self._nudge.set()

    async def run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                lively = await self._list_and_watch() if self._relist_because else await self._watch()
                if not lively and time.monotonic() - started < self._timing.short_s:
                    raise KubeError("the watch was closed at once and without an event")
                failures = 0
                continue
            except Gone as error:
                self._relist("gone", error)
            except OutOfOrderError as error:
                self._relist("out_of_order", error)
            except (KubeError, TimeoutError) as error:
                self._learn(error)
                self._log.info("watch_interrupted", error=str(error) or "nothing came for too long")
            except Exception:
                # A handler or an index of ours: the stream's place is unclear, so the list settles it.
                self._log.exception("watch_crashed")
                self._relist("crash", None)
            if time.monotonic() - started >= self._timing.healthy_s:
                failures = 0
            await self._pause(self._timing.backoff.delay_s(failures))
            failures += 1

    async def _pause(self, wait_s: float) -> None:
        self._nudge.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._nudge.wait()

    def _relist(self, reason: str, error: Exception | None) -> None:
        self._log.info("relist_needed", reason=reason, error=str(error))
        if self._relist_because == "gone" and reason == "gone":
            self._trust_floor = False  # also the list says 410: the version itself means nothing any more
        self._relist_because = reason

    def _learn(self, error: BaseException) -> None:
        if not isinstance(error, ApiError):
            return
        is_unknown = isinstance(error, BadRequest | Invalid) and "sendInitialEvents" in error.message
        # An API server that may not ask its etcd for the version (a tenant's) answers 500 with these words.
        if is_unknown or "RequestWatchProgress" in error.message:
            self._traits.watch_list = False
        causes = error.details.get("causes") or ()
        if "Too large resource version" in error.message or any(
            cause.get("reason") == "ResourceVersionTooLarge" for cause in causes
        ):
            self._trust_floor = False

    # -- lists -----------------------------------------------------------------------------------------------

    async def _list_and_watch(self) -> bool:
        if self._metrics is not None:
            self._metrics.relists.labels(str(self._kind), self._cluster, self._relist_because).inc()
        floor = self._rv if self._trust_floor else ""
        if self._traits.watch_list:
            initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            try:
                return await self._stream(initial | {"resourceVersion": floor}, staged=[])
            except TimeoutError:
                # Rows came, or nothing, but not the end of the list: a server that does not know the
                # parameter looks like this.
                self._traits.watch_list = not self._relist_because
                raise
        await self._list(floor)
        return True

    async def _list(self, floor: str) -> None:
        staged: list[T | Broken] = []
        rv = ""
        pages = self._client.pages(
            self._kind,
            self._namespace,
            labels=self._selectors.get("labelSelector", ""),
            fields=self._selectors.get("fieldSelector", ""),
            rv=floor,
        )
        async for page in pages:
            if page is None:
                staged.clear()
                continue
            self._check_size(len(staged) + len(page.items or ()))
            rv = page.metadata.resource_version
            for number, raw in enumerate(page.items or (), 1):
                obj = self._decoder.decode_or_broken(raw)
                staged.append(obj if isinstance(obj, Broken) else self._sink.stored(obj))
                if number % 100 == 0:
                    await asyncio.sleep(0)
        self._replace(staged, rv)

    def _replace(self, staged: Sequence[T | Broken], rv: str) -> None:
        for obj in staged:
            if isinstance(obj, Broken):
                self._report_broken(obj)
        went_back = _older(rv, self._rv)
        if went_back:
            self._log.warning("server_went_back", had=self._rv, now=rv)
        self._sink.replace(staged, rv, went_back=went_back)
        self._rv = rv
        self._relist_because = ""
        self._trust_floor = True
        self._last_event = ("", "")
        self.contact_at = time.monotonic()

    # -- watch -----------------------------------------------------------------------------------------------

    async def _watch(self) -> bool:
        self._heard = False
        try:
            return await self._stream({"resourceVersion": self._rv}, staged=None)
        except TimeoutError:
            if not self._heard:
                # Not even a bookmark came. A server that was set back to an earlier state is like this: it
                # holds its events back until it reaches our version again. Only a list can tell.
                self._relist("silence", None)
            raise

    async def _stream(self, params: dict[str, str], staged: list[T | Broken] | None) -> bool:
        """One stream until the server ends it. True when it brought anything. staged: objects of a list.

        Raises TimeoutError when it fell silent, Gone, OutOfOrderError, KubeError.
        """
        loop = asyncio.get_running_loop()
        timing = self._timing
        lasts_s = random.uniform(*timing.watch_s)  # noqa: S311 - spread, no secret
        call = Call(
            "GET",
            self._kind.path(self._namespace),
            params={
                "watch": "1",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(max(1, round(lasts_s))),
                **self._selectors,
                **params,
            },
            deadline_s=REQUEST_DEADLINE_S,
            limited=False,
        )
        splitter = LineSplitter()
        lively = False
        async with self._client.transport.stream(call) as response:
            self.contact_at = time.monotonic()
            async with asyncio.timeout(None) as silence:
                self._arm(silence, loop, listing=staged is not None)
                async for chunk in response.content.iter_any():
                    lively = self._heard = True
                    self.contact_at = slice_start = time.monotonic()
                    for line in splitter.feed(chunk):
                        if self._take(envelope_of(line), staged):
                            staged = None
                        if time.monotonic() - slice_start > timing.slice_s:
                            await asyncio.sleep(0)
                            slice_start = time.monotonic()
                    self._arm(silence, loop, listing=staged is not None)
                    await asyncio.sleep(0)  # data that has already arrived would never give way
        if staged is not None:
            raise KubeError("the watch ended before its initial list was complete")
        return lively

    def _arm(self, silence: asyncio.Timeout, loop: asyncio.AbstractEventLoop, *, listing: bool) -> None:
        """How long silence is bearable. Aggregated APIs may never send bookmarks: then only TCP can tell."""
        if listing:
            silence.reschedule(loop.time() + self._timing.initial_idle_s)
        elif self._bookmarks_come:
            silence.reschedule(loop.time() + self._timing.idle_s)
        else:
            silence.reschedule(None)

    def _take(self, event: Envelope, staged: list[T | Broken] | None) -> bool:
        """Handle one line. True when it completed the initial list."""
        if self._metrics is not None:
            self._metrics.watch_events.labels(str(self._kind), self._cluster, event.type).inc()
        if event.type == "ERROR":
            raise error_of_body(500, bytes(event.object))
        if event.type == "BOOKMARK":
            return self._take_bookmark(event, staged)
        obj = self._decoder.decode_or_broken(event.object)
        if staged is not None:
            staged.append(obj if isinstance(obj, Broken) else self._sink.stored(obj))
            self._check_size(len(staged))
        elif event.type in {"ADDED", "MODIFIED", "DELETED"}:
            self._take_change(event.type, obj)
        return False

    def _take_bookmark(self, event: Envelope, staged: list[T | Broken] | None) -> bool:
        meta = bare(event.object)
        if staged is not None:
            if (meta.annotations or {}).get(_INITIAL_EVENTS_END) != "true":
                return False
            self._bookmarks_come = True
            self._replace(staged, meta.resource_version)
            return True
        self._bookmarks_come = True
        if _older(meta.resource_version, self._rv):
            raise OutOfOrderError(f"the server is at version {meta.resource_version}, we saw {self._rv}")
        self._rv = meta.resource_version
        self._sink.seen(self._rv)
        return False

    def _take_change(self, type_: str, obj: T | Broken) -> None:
        if isinstance(obj, Broken):
            self._report_broken(obj)
            uid, rv = obj.uid, obj.resource_version
        else:
            uid, rv = obj.metadata.uid, obj.metadata.resource_version
        if (uid, rv) == self._last_event:
            return  # the same event once more
        if _older(rv, self._rv):
            # Versions of one watch only grow. An old one is a repetition or was overtaken; either way it
            # cannot be known whether something is missing.
            raise OutOfOrderError(f"version {rv} came after {self._rv}")
        if type_ == "DELETED" and not isinstance(obj, Broken):
            self._sink.remove(obj)
        else:
            self._check_size(len(self._sink))
            self._sink.put(obj)
        self._last_event = (uid, rv)
        self._rv = rv
        self._sink.seen(rv)

    def _check_size(self, objects: int) -> None:
        if self._objects_max and objects > self._objects_max:
            raise KubeError(
                f"{self._cluster} holds more than {self._objects_max} {self._kind}; narrow the label selector"
            )

    def _report_broken(self, broken: Broken) -> None:
        self._log.error("object_undecodable", key=str(broken.key), why=broken.why)
        if self._metrics is not None:
            self._metrics.decode_errors.labels(str(self._kind), self._cluster).inc()


def _older(rv: str, than: str) -> bool:
    """Whether a version is strictly older; False when either is unknown or no number."""
    return rv.isdigit() and than.isdigit() and int(rv) < int(than)
