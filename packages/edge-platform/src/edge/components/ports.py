"""What the components room needs of the outside, and the plain values that pass between (K3, K5)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge.components.effective import Release
from edge.components.recovery import Revision
from edge.components.types import ResolvedChart
from edge_kube.meta import Key, Manifest, Model


class Archive(Model):
    """A chart archive on this machine, checked against its digest."""

    chart: ResolvedChart
    path: str


class ChartTrouble(Exception):
    """A chart cannot be had. reason: ChartNotFound (404: upload it), ChartUnavailable (no answer, try
    again), DigestMismatch, BadChart. The message names URL, status and the way out."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TargetTrouble(Exception):
    """The target cluster cannot be used. is_gone: it was deleted, or is being deleted."""

    def __init__(self, reason: str, message: str, *, is_gone: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.is_gone = is_gone


class HelmTrouble(Exception):
    """Helm ended with an error. kind: an error class of `failures`; the message is masked."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Options(Model):
    """How Helm is called. timeout: a Go duration that bounds hooks. labels: put on the release's Secret."""

    timeout: str
    labels: Mapping[str, str] = {}
    take_ownership: bool = False


class Content(Model):
    """What a deployed revision consists of. objects: without hooks, namespaces filled in."""

    chart: ResolvedChart
    objects: tuple[Manifest, ...]


class Inspection(Model):
    """A release compared with its cluster. Each entry is "Kind namespace/name", with detail where it helps.

    missing, changed: objects to put back. kept: fields people changed on the platform's own workloads.
    unhealthy: workloads that are not ready, with figures.
    """

    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unhealthy: tuple[str, ...] = ()


class Charts(Protocol):
    async def resolve(
        self, repository: str, name: str, wanted: str, known: ResolvedChart | None
    ) -> ResolvedChart:
        """Name, version and digest of what `wanted` (exact, range or "") stands for now.

        The archive is fetched by one GET when it is new, and kept; `known` is answered when the repository
        does not answer and `known` still fits. Raises ChartTrouble.
        """
        ...

    async def archive(self, repository: str, chart: ResolvedChart) -> Archive:
        """The file that `resolve` kept, fetched again only when it was dropped. Raises ChartTrouble."""
        ...


class Releases(Protocol):
    """Releases of the host and of targets. Methods raise TargetTrouble; those that run Helm, HelmTrouble."""

    async def target_uid(self, cluster: str) -> str: ...
    async def history(self, release: Release) -> Sequence[Revision]: ...
    async def content(self, release: Release, number: int) -> Content: ...
    async def holder(self, release: Release) -> str:
        """Who holds the release's lock and is alive; "" for nobody or ourselves."""
        ...

    async def upgrade(
        self, release: Release, archive: Archive, values: Mapping[str, Any], options: Options
    ) -> None: ...
    async def rollback(self, release: Release, to: int, options: Options) -> None: ...
    async def uninstall(self, release: Release, options: Options) -> None: ...
    async def inspect(self, release: Release, objects: Sequence[Manifest]) -> Inspection: ...
    async def repair(self, release: Release, objects: Sequence[Manifest], names: Sequence[str]) -> None:
        """Put the named objects (as in an Inspection) back; what people changed and is kept stays."""
        ...


class ValueSources(Protocol):
    async def read(self, kind: str, key: Key, entry: str) -> str | None:
        """Text of an entry of a Secret or ConfigMap of the host; None when either is missing."""
        ...
