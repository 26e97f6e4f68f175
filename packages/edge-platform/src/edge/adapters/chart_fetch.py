"""Charts for the component engine: one GET from a repository, or a file of the controller's image (K3).

An exact version is one request for the archive. A range, or no version, is one for the index and one for the
archive. Afterwards a conditional request tells whether the bytes behind the version changed, at most every
`fresh_s`; the archives are kept by digest, so that a retry does not fetch again.
"""

import asyncio
import contextlib
import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import msgspec
import yaml

from edge.components.ports import Archive, ChartTrouble
from edge.components.types import BUILTIN_REPOSITORY, ResolvedChart
from edge.museum.chart import BadChart, read_chart
from edge_sdk.semver import BadVersion, is_strict, newest, parse

CHART_MAX_BYTES = 20 * 1024 * 1024
INDEX_MAX_BYTES = 64 * 1024 * 1024
KEPT_ARCHIVES = 24
KEPT_URLS = 1000
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5, sock_read=20)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Known(msgspec.Struct, frozen=True):
    """What a URL gave: ETag, body's digest or (for an index) its parsed entries, and when it was asked."""

    etag: str
    digest: str
    at_s: float
    entries: Mapping[str, Sequence[Mapping[str, Any]]] = {}


class ChartFetcher:
    """The port `Charts`. Close it at the end."""

    def __init__(self, museum_url: str, builtin: Path, scratch: Path, *, fresh_s: float = 20.0) -> None:
        self._museum_url = museum_url.rstrip("/")
        self._builtin = builtin
        self._folder = scratch / "charts"
        self._fresh_s = fresh_s
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def resolve(
        self, repository: str, name: str, wanted: str, known: ResolvedChart | None
    ) -> ResolvedChart:
        if repository == BUILTIN_REPOSITORY:
            return await asyncio.to_thread(self._resolve_builtin, name, wanted)
        try:
            return await self._resolve_remote(self._base(repository), name, wanted)
        except ChartTrouble as trouble:
            # What runs keeps running while the repository is away, or has lost the version.
            if (
                trouble.reason in ("ChartUnavailable", "ChartNotFound")
                and known
                and _fits(known, name, wanted)
            ):
                return known
            raise

    async def archive(self, repository: str, chart: ResolvedChart) -> Archive:
        if repository == BUILTIN_REPOSITORY:
            return Archive(chart=chart, path=str(self._builtin / f"{chart.name}-{chart.version}.tgz"))
        path = self._path(chart.digest)
        if not path.exists():
            url = f"{self._base(repository)}/charts/{chart.name}-{chart.version}.tgz"
            self._known.pop(url, None)
            fetched = await self._fetch_chart(url, chart.name, chart.version)
            if fetched.digest != chart.digest:
                raise ChartTrouble(
                    "DigestMismatch", f"{url} changed while it was installed; it is looked up again."
                )
        path.touch()  # the oldest are dropped first
        return Archive(chart=chart, path=str(path))

    def _base(self, repository: str) -> str:
        return (repository or self._museum_url).rstrip("/")

    # -- the image's own charts ----------------------------------------------------------------------------

    def _resolve_builtin(self, name: str, wanted: str) -> ResolvedChart:
        files = {
            p.name.removeprefix(f"{name}-").removesuffix(".tgz"): p
            for p in self._builtin.glob(f"{name}-*.tgz")
        }
        versions = {version: path for version, path in files.items() if is_strict(version)}
        version = wanted if wanted in versions else _newest(versions, wanted)
        if version is None:
            raise _not_found(
                f"{name} {wanted or '(any version)'}", str(self._builtin), "no such file", versions
            )
        content = versions[version].read_bytes()
        return ResolvedChart(name=name, version=version, digest=hashlib.sha256(content).hexdigest())

    # -- repositories --------------------------------------------------------------------------------------

    async def _resolve_remote(self, base: str, name: str, wanted: str) -> ResolvedChart:
        if not base.startswith(("http://", "https://")):
            raise ChartTrouble(
                "ChartUnavailable",
                f'spec.chart.repository is "{base}"; accepted are http:// and https:// addresses, '
                f"{BUILTIN_REPOSITORY}, or nothing for the cluster's own museum.",
            )
        if is_strict(wanted):
            return await self._fetch_chart(f"{base}/charts/{name}-{wanted}.tgz", name, wanted, base=base)
        entries = (await self._fetch_index(f"{base}/index.yaml")).get(name, ())
        by_version = {str(entry.get("version", "")): entry for entry in entries}
        version = _newest(by_version, wanted)
        if version is None:
            raise _not_found(
                f"{name} {wanted or '(any version)'}", f"{base}/index.yaml", "not listed", by_version
            )
        urls: Sequence[str] = by_version[version].get("urls") or [f"charts/{name}-{version}.tgz"]
        chart = await self._fetch_chart(urljoin(f"{base}/", urls[0]), name, version, base=base)
        expected = str(by_version[version].get("digest") or chart.digest)
        if expected != chart.digest:
            raise ChartTrouble(
                "DigestMismatch",
                f"Chart {name} {version} of {base} has SHA-256 {chart.digest}, and its index says "
                f"{expected}, so it was not installed. Upload it again.",
            )
        return chart

    async def _fetch_chart(self, url: str, name: str, version: str, *, base: str = "") -> ResolvedChart:
        """Components of one chart that ask at the same time share one request."""
        if len(self._known) > KEPT_URLS:
            self._known.clear()
            self._asking = {asked: lock for asked, lock in self._asking.items() if lock.locked()}
        async with self._asking.setdefault(url, asyncio.Lock()):
            return await self._fetch_chart_alone(url, name, version, base)

    async def _fetch_chart_alone(self, url: str, name: str, version: str, base: str) -> ResolvedChart:
        known = self._known.get(url)
        if known is not None and time.monotonic() - known.at_s < self._fresh_s and self._is_kept(known):
            return ResolvedChart(name=name, version=version, digest=known.digest)
        etag = known.etag if known is not None and self._is_kept(known) else ""
        status, body, new_etag = await self._get(url, etag, CHART_MAX_BYTES)
        if status == 304 and known is not None:
            self._known[url] = msgspec.structs.replace(known, at_s=time.monotonic())
            return ResolvedChart(name=name, version=version, digest=known.digest)
        if status == 404:
            raise _not_found(f"{name} {version}", url, "404", await self._versions(base, name))
        if status != 200:
            raise ChartTrouble(
                "ChartUnavailable", f"Chart {name} {version} was not fetched: {url} answered {status}."
            )
        digest = await asyncio.to_thread(self._keep, url, name, version, body)
        self._known[url] = _Known(new_etag, digest, time.monotonic())
        return ResolvedChart(name=name, version=version, digest=digest)

    async def _fetch_index(self, url: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        known = self._known.get(url)
        if known is not None and time.monotonic() - known.at_s < self._fresh_s:
            return known.entries
        status, body, etag = await self._get(url, known.etag if known else "", INDEX_MAX_BYTES)
        if status == 304 and known is not None:
            self._known[url] = msgspec.structs.replace(known, at_s=time.monotonic())
            return known.entries
        if status != 200:
            raise ChartTrouble(
                "ChartUnavailable", f"The index {url} answered {status}; is it a chart repository?"
            )
        try:
            document: object = await asyncio.to_thread(yaml.load, body, _LOADER)
            entries = msgspec.convert(document, _IndexFile, strict=False).entries or {}
        except (yaml.YAMLError, msgspec.ValidationError) as error:
            raise ChartTrouble("ChartUnavailable", f"The index {url} cannot be read: {error}") from error
        self._known[url] = _Known(etag, "", time.monotonic(), entries)
        return entries

    async def _versions(self, base: str, name: str) -> Sequence[str]:
        """For a message: what there is instead of what was not found."""
        if base:
            with contextlib.suppress(ChartTrouble):
                entries = (await self._fetch_index(f"{base}/index.yaml")).get(name, ())
                return [str(entry.get("version")) for entry in entries]
        return ()

    async def _get(self, url: str, etag: str, limit_bytes: int) -> tuple[int, bytes, str]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True)
        headers = {"If-None-Match": etag} if etag else {}
        try:
            async with self._session.get(url, headers=headers) as answer:
                if answer.status != 200:
                    return answer.status, b"", ""
                body = await answer.content.read(limit_bytes + 1)
                while len(body) <= limit_bytes and not answer.content.at_eof():
                    body += await answer.content.read(limit_bytes + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ChartTrouble(
                "ChartUnavailable",
                f"{url} does not answer ({error or type(error).__name__}). It is tried again.",
            ) from error
        if len(body) > limit_bytes:
            raise ChartTrouble("BadChart", f"{url} is larger than {limit_bytes // 2**20} MiB.")
        return answer.status, body, answer.headers.get("ETag", "")

    # -- archives on this machine --------------------------------------------------------------------------

    def _keep(self, url: str, name: str, version: str, body: bytes) -> str:
        try:
            chart = read_chart(body)
        except BadChart as error:
            raise ChartTrouble("BadChart", f"{url} is no chart: {error}.") from error
        if (chart.name, chart.version) != (name, version):
            raise ChartTrouble("BadChart", f"{url} holds {chart.name} {chart.version}, not {name} {version}.")
        digest = hashlib.sha256(body).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path(digest).with_suffix(f".{secrets.token_hex(4)}.draft")
        draft.write_bytes(body)
        draft.replace(self._path(digest))
        kept = sorted(self._folder.glob("*.tgz"), key=lambda path: path.stat().st_mtime)
        for path in kept[:-KEPT_ARCHIVES]:
            path.unlink(missing_ok=True)
        return digest

    def _is_kept(self, known: _Known) -> bool:
        return self._path(known.digest).exists()

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.tgz"


class _IndexFile(msgspec.Struct):
    entries: Mapping[str, Sequence[Mapping[str, Any]]] | None = None


def _newest(versions: Mapping[str, Any] | Sequence[str], wanted: str) -> str | None:
    try:
        return newest(versions, wanted)
    except BadVersion as error:
        raise ChartTrouble("ChartNotFound", f"spec.version {error}.") from error


def _fits(known: ResolvedChart, name: str, wanted: str) -> bool:
    if known.name != name or not known.version:
        return False
    return known.version == wanted or (not is_strict(wanted) and newest([known.version], wanted) is not None)


def _not_found(what: str, url: str, status: str, versions: Mapping[str, Any] | Sequence[str]) -> ChartTrouble:
    there: list[str] = []
    with contextlib.suppress(BadVersion):
        there = sorted(versions, key=parse, reverse=True)[:5]
    way_out = f"set spec.version to one of {', '.join(there)}" if there else "correct spec.chart.name"
    return ChartTrouble(
        "ChartNotFound",
        f"Chart {what} was not found: {url} ({status}). Upload it "
        f"(curl --data-binary @CHART.tgz <museum>/api/charts), or {way_out}.",
    )
