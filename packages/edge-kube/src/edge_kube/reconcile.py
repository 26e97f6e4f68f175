"""The vocabulary of a reconciler: what it is asked, what it answers, what it may read and write.

Promises of the runtime: a reconciler is asked by name only, never with the event that woke it; the same
request never runs twice at once; after a crash, a lost event or a missed watch it is asked again.
Not promised: that each change is seen (changes are merged), and that the cache is new (every write must be
safe to make from an old view). Source: P3, rulings R2; design kube-runtime §3 and §7.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar, overload

from edge_kube.meta import Key, Manifest, Model, Resource

if TYPE_CHECKING:
    from edge_kube.client import Applied

T = TypeVar("T", bound=Resource)


class Request(NamedTuple):
    """One object to look at. cluster "" is the host; namespace "" is cluster scope."""

    name: str
    namespace: str = ""
    cluster: str = ""

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.cluster}:{path}" if self.cluster else path


@dataclass(frozen=True, slots=True)
class Result:
    """What a reconcile came to.

    status: the whole status this room answers for, or None to leave the status alone. The runtime writes it
        once, fenced by the resourceVersion that was read, only when it differs; it fills observedGeneration
        and lastTransitionTime.
    after_s: look again after about so many seconds (jittered by 10 %), also when nothing changed.
    park: name of a member cluster; the request sleeps until that cluster answers again or the object changes.
    """

    status: Model | None = None
    after_s: float | None = None
    park: str | None = None


DONE = Result()


class Waiting(Exception):
    """Not yet: something else has to happen first. No error, no back-off; shown in the Ready condition."""

    def __init__(self, for_what: str, again_in_s: float, *, reason: str = "Waiting") -> None:
        super().__init__(for_what)
        self.message = for_what
        self.again_in_s = again_in_s
        self.reason = reason


class TerminalError(Exception):
    """Trying again cannot help: counted, logged, and not retried before the object changes."""


class Stalled(TerminalError):
    """A person must act. reason is CamelCase, message says what happened, why, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Reader(Protocol):
    """Synchronous reads from the exact cache. Objects are shared and frozen: never change one.

    A kind must be named by the room (a loop's kind, a watch, or `reads`), else the cache refuses.
    """

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None: ...
    def list(self, cls: type[T], namespace: str = "") -> Sequence[T]: ...
    def by(self, cls: type[T], index: str, value: Hashable) -> Sequence[T]: ...


class Writer(Protocol):
    """Writes, and live reads where the cache may be too old. NotLeader is raised once the lease is lost."""

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T: ...
    async def find(self, cls: type[T], name: str, namespace: str = "") -> T | None: ...
    async def list(self, cls: type[T], namespace: str = "") -> Sequence[T]: ...
    @overload
    async def create(self, obj: T, *, manager: str) -> T: ...
    @overload
    async def create(self, obj: Manifest, *, manager: str) -> Manifest: ...
    async def apply(
        self,
        obj: Resource | Manifest,
        *,
        manager: str,
        force: bool = True,
        sub: str = "",
        dry_run: bool = False,
        rv: str | None = None,
    ) -> "Applied": ...
    async def merge(
        self,
        cls: type[T],
        key: Key,
        patch: Manifest,
        *,
        rv: str | None = None,
        sub: str = "",
        manager: str = "",
    ) -> T: ...
    async def json_patch(
        self, cls: type[T], key: Key, ops: Sequence[Mapping[str, Any]], *, sub: str = "", manager: str = ""
    ) -> T: ...
    async def delete(
        self,
        cls: type[Resource],
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> bool: ...


class Reconciler(Protocol):
    """Read the cache, plan, carry out, return. May be cancelled at any await; never waits for readiness."""

    async def reconcile(self, request: Request) -> Result: ...


ReconcilerFactory = Callable[[Reader, Writer], Reconciler]


@dataclass(frozen=True, slots=True)
class Watch(Generic[T]):
    """Wake a loop when another kind of the host changes. `to` sees the old and the new object; it is pure."""

    kind: type[T]
    to: Callable[[T], Iterable[Request]]


@dataclass(frozen=True, slots=True)
class MemberWatch(Generic[T]):
    """Wake a loop when an object inside a member cluster changes. `to` gets the object and the cluster.

    labels: label selector sent to the member; keep it narrow, what a member holds is not ours (R8).
    """

    kind: type[T]
    to: Callable[[T, str], Iterable[Request]]
    labels: str = ""


@dataclass(frozen=True, slots=True)
class Index(Generic[T]):
    """A named index of the cache: `Reader.by(kind, name, value)`. `of` is pure and cheap."""

    kind: type[T]
    name: str
    of: Callable[[T], Iterable[Hashable]]


class Fence:
    """The version of its own object that a reconcile has read; moved on only by its own writes to it.

    The status write carries it: a status computed from a stale view ends in a 409, not in an overwrite.
    """

    __slots__ = ("rv", "uid")

    def __init__(self, uid: str, rv: str) -> None:
        self.uid = uid
        self.rv = rv


_fence: ContextVar[Fence | None] = ContextVar("edge_kube_fence", default=None)


def enter_fence(obj: Resource) -> Fence:
    """Called by the controller in the task of one reconcile, before the reconciler runs."""
    fence = Fence(obj.metadata.uid, obj.metadata.resource_version)
    _fence.set(fence)
    return fence


def advance_fence(written: Resource) -> None:
    """Tell the running reconcile that it has itself just written its own object (a finalizer, a label)."""
    fence = _fence.get()
    if fence is not None and fence.uid == written.metadata.uid:
        fence.rv = written.metadata.resource_version
