"""Releases, by Helm's child process for changes and by plain reads for everything else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from edge.adapters import helm_objects
from edge.adapters.helm_lock import LockHeld, ReleaseLock
from edge.adapters.helm_masking import masked, secrets_in
from edge.adapters.helm_process import HelmProcess
from edge.adapters.helm_records import content_of, revision_of, secret_name
from edge.adapters.helm_targets import Target, Targets, unreachable
from edge.components.durations import seconds_of
from edge.components.effective import Release, canonical_json
from edge.components.failures import classify, readable
from edge.components.ports import Archive, Content, HelmTrouble, Inspection, Options
from edge.components.recovery import Revision
from edge.components.types import ResolvedChart
from edge_kube.core import Secret
from edge_kube.errors import KubeError, NotFound
from edge_kube.meta import Manifest, ObjectMeta, kind_of

log = structlog.stdlib.get_logger("edge.components")

_METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
_HISTORY_MAX = "10"
_GRACE_S = 60.0
"""Helm's --timeout bounds single operations; the child as a whole may take this much longer."""


class _Listed(msgspec.Struct):
    metadata: ObjectMeta


class _List(msgspec.Struct):
    items: list[_Listed] | None = None


class HelmReleases:
    """The port `Releases`."""

    def __init__(self, targets: Targets, process: HelmProcess, lock: ReleaseLock) -> None:
        self._targets = targets
        self._process = process
        self._lock = lock

    async def target_uid(self, cluster: str) -> str:
        return (await self._targets.get(cluster)).uid

    async def history(self, release: Release) -> Sequence[Revision]:
        """All revisions, oldest first, from the metadata of their Secrets."""
        target = await self._targets.get(release.cluster)
        path = kind_of(Secret).path(release.namespace)
        selector = {"labelSelector": f"owner=helm,name={release.name}"}
        try:
            async with await target.client.raw(
                "GET", path, params=selector, headers=_METADATA_ONLY
            ) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise unreachable(release.cluster, KubeError(f"HTTP {answer.status} for {path}"))
        except KubeError as error:
            raise unreachable(release.cluster, error) from error
        items = msgspec.json.decode(body, type=_List).items or []
        return sorted((revision_of(i.metadata.labels) for i in items), key=lambda revision: revision.number)

    async def content(self, release: Release, number: int) -> Content:
        target = await self._targets.get(release.cluster)
        try:
            secret = await target.client.get(Secret, secret_name(release.name, number), release.namespace)
        except NotFound:
            return Content(chart=ResolvedChart(), objects=())
        except KubeError as error:
            raise unreachable(release.cluster, error) from error
        return content_of(secret.data.get("release", ""))

    async def holder(self, release: Release) -> str:
        target = await self._targets.get(release.cluster)
        try:
            return await self._lock.holder(target.client, release.namespace, release.name)
        except KubeError as error:
            raise unreachable(release.cluster, error) from error

    async def upgrade(
        self, release: Release, archive: Archive, values: Mapping[str, Any], options: Options
    ) -> None:
        """Install or upgrade. Field conflicts are forced: what a chart sets is set when its spec changes."""
        labels = ",".join(f"{name}={value}" for name, value in sorted(options.labels.items()))
        arguments = [
            "upgrade", release.name, archive.path, "--install", "--reset-values", "--values=-",
            "--server-side=true", "--force-conflicts", f"--history-max={_HISTORY_MAX}", f"--labels={labels}",
            "--hide-notes", "--output=json",
        ]  # fmt: skip
        if options.take_ownership:
            arguments.append("--take-ownership")
        # JSON is YAML, and canonical; nulls remove defaults in both.
        await self._run(release, arguments, options, canonical_json(values), secrets_in(values))

    async def rollback(self, release: Release, to: int, options: Options) -> None:
        arguments = [
            "rollback", release.name, str(to), "--server-side=true", "--force-conflicts",
            f"--history-max={_HISTORY_MAX}",
        ]  # fmt: skip
        await self._run(release, arguments, options)

    async def uninstall(self, release: Release, options: Options) -> None:
        arguments = ["uninstall", release.name, "--ignore-not-found", "--cascade=background"]
        await self._run(release, arguments, options, removing=True)

    async def inspect(self, release: Release, objects: Sequence[Manifest]) -> Inspection:
        return await self._on_target(
            release,
            lambda t: helm_objects.inspect(t.client, (release.namespace, release.name), objects),
        )

    async def repair(self, release: Release, objects: Sequence[Manifest], names: Sequence[str]) -> None:
        await self._on_target(
            release,
            lambda t: helm_objects.repair(t.client, (release.namespace, release.name), objects, names),
        )

    async def _on_target(self, release: Release, work: Callable[[Target], Awaitable[Any]]) -> Any:
        target = await self._targets.get(release.cluster)
        try:
            return await work(target)
        except KubeError as error:
            raise unreachable(release.cluster, error) from error

    async def _run(
        self,
        release: Release,
        arguments: Sequence[str],
        options: Options,
        stdin: bytes = b"",
        secrets: set[str] | None = None,
        *,
        removing: bool = False,
    ) -> None:
        target = await self._targets.get(release.cluster)
        arguments = [*arguments, f"--namespace={release.namespace}", f"--timeout={options.timeout}"]
        try:
            async with self._lock.held(target.client, release.namespace, release.name, removing=removing):
                done = await self._process.run(
                    arguments,
                    connection=target.client.connection,
                    stdin=stdin,
                    timeout_s=seconds_of(options.timeout) + _GRACE_S,
                )
        except LockHeld as error:
            raise HelmTrouble("Locked", str(error)) from error
        except KubeError as error:
            kind = classify(str(error))
            raise HelmTrouble("Unreachable" if kind == "Unknown" else kind, str(error)) from error
        if done.code == 0:
            return
        stderr = masked(done.stderr, secrets or set())
        kind = "Killed" if done.code < 0 and not stderr else classify(stderr)
        log.warning("helm_failed", release=str(release), verb=arguments[0], code=done.code, error_class=kind)
        raise HelmTrouble(kind, readable(stderr) or f"helm {arguments[0]} ended with code {done.code}.")
