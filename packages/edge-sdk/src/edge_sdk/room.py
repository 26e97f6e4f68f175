"""A room: everything one part of the platform adds, declared in one place and started elsewhere.

    def room() -> Room:
        return Room(
            name="tenancy",
            kinds=(Workspace,),
            loops=(Loop(Workspace, WorkspaceReconciler, watches=(Watch(Namespace, workspace_of),)),),
            webhooks=(Webhook(Workspace, validate=check_workspace),),
            rights=(Rights("", "namespaces", ("get", "list", "watch", "create")),),
        )

A room only registers: building one opens no file and no socket, so that tools build the same rooms.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from edge_kube.meta import Resource
from edge_kube.runtime import Author, Index, Measure, MemberWatch, Reader, ReconcilerFactory, Request, Watch
from edge_sdk.problem import Violation as Violation

T = TypeVar("T", bound=Resource)

PatchOp = Mapping[str, Any]
"""One RFC 6902 operation: {"op": "add", "path": "/spec/distribution", "value": "k3s"}."""


@dataclass(frozen=True, slots=True)
class Webhook(Generic[T]):
    """Admission of one kind. default, stamp and validate are pure: no clock, no cluster, no side effect.

    default: new object → JSON patch that fills what the user left out; run twice it changes nothing more.
    stamp: new object, old one (None on create) and author → JSON patch that notes what the author is.
    validate: new object and old one (None on create) → what is wrong with it; an empty list admits it.
    authorize: the same with the author → rights that the author lacks for it, as sentences; runs on the loop.
    warn: new object (None on delete), old one (None on create) and author → what the change would bring, as
    sentences of at most 256 characters; only asked on a dry run, and only for a change that is admitted.
    retain: object that is to be deleted and author → why it must stay, as sentences; runs on the loop.
    retain_if: CEL expression over `oldObject`; a deletion for which it does not hold never waits for retain.
    conditions: name → CEL expression; only requests for which all hold are asked about.
    going: CEL expression over `object` and `oldObject`; an object that is being deleted takes any change
    unasked, but for those for which it holds: then its author is judged (authorize, not validate).
    """

    kind: type[T]
    default: Callable[[T], Sequence[PatchOp]] | None = None
    stamp: Callable[[T, T | None, Author], Sequence[PatchOp]] | None = None
    validate: Callable[[T, T | None], Sequence[Violation]] | None = None
    authorize: Callable[[T, T | None, Author], Awaitable[Sequence[str]]] | None = None
    warn: Callable[[T | None, T | None, Author], Awaitable[Sequence[str]]] | None = None
    retain: Callable[[T, Author], Awaitable[Sequence[str]]] | None = None
    retain_if: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict[str, str])
    going: str = ""
    failure_policy: Literal["Fail", "Ignore"] = "Fail"


@dataclass(frozen=True, slots=True)
class Rights:
    """What the controller may do: `tools/rbacgen` writes its ClusterRole from these (S4).

    resource: plural, or "plural/sub". names: only these objects, for verbs that take a name.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP route of the gateway. The handler's request and answer types are the gateway's (aiohttp).

    path: aiohttp pattern, "/oauth/token". public: answered without a token (sign-in, health).
    stream: no request time-out (watch, log follow).
    """

    method: str
    path: str
    handler: Callable[[Any], Awaitable[Any]]
    public: bool = False
    stream: bool = False
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Loop(Generic[T]):
    """One kind and the reconciler that looks after it.

    reconciler: called once at start with the cache and the client; a class, or a partial with adapters.
    watches: other kinds whose changes wake it; reads: kinds it reads without being woken by them.
    name: name in metrics, logs and the environment variable <NAME>_CONCURRENT_RECONCILES; the kind in lower
    case when empty. workers: requests at once; resync_s: each object is looked at this often from the cache.
    timeout_s: one reconcile is cancelled after it. lane: requests of one lane share two workers (default:
    the request's cluster), so that a slow member cannot take them all.
    attach: gets, before anything runs, what puts a request into this loop's queue: for what is no object.
    """

    kind: type[T]
    reconciler: ReconcilerFactory
    watches: tuple[Watch[Any], ...] = ()
    member_watches: tuple[MemberWatch[Any], ...] = ()
    reads: tuple[type[Resource], ...] = ()
    name: str = ""
    workers: int = 3
    resync_s: float = 30.0
    timeout_s: float = 120.0
    lane: Callable[[Request], str] | None = None
    attach: Callable[[Callable[[Request], None]], None] | None = None

    @property
    def label(self) -> str:
        return self.name or self.kind.__name__.lower()


class Waker:
    """Puts requests into a loop's queue: for what is there before the loop, or is part of it.

    waker = Waker()
    Loop(…, partial(MyReconciler, waker), attach=waker.attach)
    """

    def __init__(self) -> None:
        self._wakes: list[Callable[[Request], None]] = []

    def attach(self, wake: Callable[[Request], None]) -> None:
        self._wakes.append(wake)

    def __call__(self, request: Request) -> None:
        for wake in self._wakes:
            wake(request)


@dataclass(frozen=True, slots=True)
class Room:
    """name: short, a plain word; field managers are edge-<name> and edge-<name>-status.

    settings: a section type of `edge_sdk.settings`, read under this room's name in edge.yaml.
    indexes: indexes of the cache that the room's loops ask for.
    """

    name: str
    kinds: tuple[type[Resource], ...] = ()
    loops: tuple[Loop[Any], ...] = ()
    routes: tuple[Route, ...] = ()
    webhooks: tuple[Webhook[Any], ...] = ()
    rights: tuple[Rights, ...] = ()
    indexes: tuple[Index[Any], ...] = ()
    settings: type[Any] | None = None
    measures: tuple[Callable[[Reader], Iterable[Measure]], ...] = ()
    """Gauges computed from the cache on each scrape, shown by the leader only (`cluster_info` …)."""
    metrics: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of the metrics the room exports, with one sentence each; `tools/docgen` lists them."""

    @property
    def field_manager(self) -> str:
        return f"edge-{self.name}"

    @property
    def status_manager(self) -> str:
        return f"edge-{self.name}-status"
