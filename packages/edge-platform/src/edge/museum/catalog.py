"""What the museum holds: storage and index kept in step. One writer at a time; readers never wait for one."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from edge.museum.chart import BadChart, read_chart
from edge.museum.index import ChartVersion, Index, chart_version
from edge.museum.settings import Settings
from edge.museum.storage import FileExists, Stamp, Storage
from edge_sdk.semver import BadVersion, newest

log = structlog.stdlib.get_logger("edge.museum")

LOOK_EVERY_S = 1.0


class LimitReached(Exception):
    """MAX_STORAGE_OBJECTS would be passed."""


class Catalog:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._storage = Storage(
            settings.storage_local_rootdir,
            settings.storage_preloaded_rootdir,
            volume_wins=settings.allow_overwrite or not settings.disable_force_overwrite,
        )
        self._writing = asyncio.Lock()
        self._indexes: dict[str, Index] = {}
        self._versions: dict[str, dict[str, ChartVersion]] = {}
        self._refused: dict[str, dict[str, Stamp]] = {}
        self._looked_at_s: dict[str, float] = {}

    @property
    def storage(self) -> Storage:
        return self._storage

    @property
    def repositories(self) -> Mapping[str, Index]:
        """Those asked for since the start."""
        return self._indexes

    @property
    def unreadable(self) -> int:
        """Files that lie in the museum and are no charts; they are left out of the index."""
        return sum(map(len, self._refused.values()))

    async def open(self) -> None:
        await asyncio.to_thread(self._storage.prepare)
        if self._settings.depth == 0 or self._settings.depth_dynamic:
            await self.index("")

    async def index(self, repo: str) -> Index:
        """The index as of at most LOOK_EVERY_S ago: files that came by another way (a copy into the
        volume) are seen by their size, time and inode."""
        looked_at_s = self._looked_at_s.get(repo)
        if looked_at_s is None or time.monotonic() - looked_at_s > LOOK_EVERY_S:
            if looked_at_s is not None and self._writing.locked():
                return self._indexes[repo]
            async with self._writing:
                await asyncio.to_thread(self._refresh, repo)
        return self._indexes[repo]

    async def find(self, repo: str, name: str, wanted: str) -> ChartVersion | None:
        """`latest` = newest stable, an exact version, or a range; raises BadVersion for neither."""
        versions = (await self.index(repo)).charts.get(name, ())
        exact = next((v for v in versions if v.version == wanted), None)
        if exact or not versions:
            return exact
        texts = [v.version for v in versions]
        best = (newest(texts) or texts[0]) if wanted == "latest" else newest(texts, wanted)
        return next((v for v in versions if v.version == best), None)

    async def path(self, repo: str, filename: str) -> Path:
        """Raises NoSuchFile."""
        return await asyncio.to_thread(self._storage.path, repo, filename)

    async def save(self, repo: str, files: Mapping[str, bytes], chart: str, *, force: bool) -> None:
        """Write checked files (name → content) of one chart; raises FileExists, LimitReached, StorageFull."""
        settings = self._settings
        overwrite = settings.allow_overwrite or (force and not settings.disable_force_overwrite)
        async with self._writing:
            await asyncio.to_thread(self._save, repo, files, chart, overwrite)

    async def remove(self, repo: str, version: ChartVersion) -> None:
        async with self._writing:
            await asyncio.to_thread(self._remove, repo, version.filename)
            await asyncio.to_thread(self._refresh, repo)

    def _save(self, repo: str, files: Mapping[str, bytes], chart: str, overwrite: bool) -> None:
        shown = self._storage.scan(repo)
        new = [name for name in files if name not in shown]
        if not overwrite and len(new) < len(files):
            raise FileExists(next(name for name in files if name in shown))
        limit = self._settings.max_storage_objects
        if limit and len(shown) + len(new) > limit:
            raise LimitReached
        self._storage.write(repo, files, overwrite=overwrite)
        self._refresh(repo)
        self._keep_newest(repo, chart, files)

    def _keep_newest(self, repo: str, chart: str, just_written: Mapping[str, bytes]) -> None:
        """PER_CHART_LIMIT: the oldest by file time go, never what was just uploaded."""
        limit = self._settings.per_chart_limit
        versions = sorted(self._indexes[repo].charts.get(chart, ()), key=lambda v: v.stamp.mtime_ns)
        surplus = [v for v in versions if v.filename not in just_written][: max(len(versions) - limit, 0)]
        if limit and surplus:
            for version in surplus:
                self._remove(repo, version.filename)
            self._refresh(repo)

    def _remove(self, repo: str, filename: str) -> None:
        self._storage.delete(repo, filename)
        if self._storage.scan_one(repo, filename + ".prov") is not None:
            self._storage.delete(repo, filename + ".prov")

    def _refresh(self, repo: str) -> None:
        """Read the files that changed, forget those that went; the index is swapped only when one did."""
        known, refused = self._versions.get(repo, {}), self._refused.get(repo, {})
        current: dict[str, ChartVersion] = {}
        still_refused: dict[str, Stamp] = {}
        for filename, stamp in self._storage.scan(repo).items():
            if not filename.endswith(".tgz"):
                continue
            have = known.get(filename)
            if have is not None and have.stamp == stamp:
                current[filename] = have
            elif refused.get(filename) != stamp and (read := self._read(filename, stamp)):
                current[filename] = read
            else:
                still_refused[filename] = stamp
        self._refused[repo] = still_refused
        if current != known or repo not in self._indexes:
            self._versions[repo] = current
            self._indexes[repo] = Index(current.values(), as_json=self._settings.json_index)
        self._looked_at_s[repo] = time.monotonic()

    def _read(self, filename: str, stamp: Stamp) -> ChartVersion | None:
        try:
            archive = Path(stamp.path).read_bytes()
            chart = read_chart(archive)
            if chart.filename != filename:
                raise BadChart(f"the file is called {filename}, but Chart.yaml says {chart.filename}")
        except FileNotFoundError:
            return None
        except BadChart as error:
            log.warning("chart_passed_over", file=stamp.path, error=str(error))
            return None
        prefix = self._settings.chart_url.rstrip("/")
        url = f"{prefix}/charts/{filename}" if prefix else f"charts/{filename}"
        return chart_version(chart, archive, stamp, filename, url)


__all__ = ["BadVersion", "Catalog", "LimitReached"]
