"""What each route does: check the input, ask the catalogue, answer."""

import asyncio
import base64
from collections.abc import Mapping

import yaml
from aiohttp import BodyPartReader, web

from edge.museum.answers import WELCOME, Refused, document
from edge.museum.catalog import Catalog, LimitReached
from edge.museum.chart import BadChart, Chart, read_chart
from edge.museum.index import ChartVersion
from edge.museum.metrics import Metrics
from edge.museum.provenance import BadProvenance, provenance_filename
from edge.museum.routing import Target
from edge.museum.settings import Settings
from edge.museum.storage import FileExists, NoSuchFile, StorageFull
from edge_sdk.semver import BadVersion

VERSION = "v0.16.3"
"""The upstream release whose API this server answers like; clients read it from /info."""

_NO_ROOM = {"status": "Failure", "reason": "InsufficientStorage", "code": 507}
_TYPES = {".tgz": "application/x-tar", ".prov": "application/pgp-signature"}


class Handlers:
    def __init__(self, settings: Settings, catalog: Catalog, metrics: Metrics) -> None:
        self._settings = settings
        self._catalog = catalog
        self._metrics = metrics
        self._uploads = asyncio.Semaphore(4)  # bounds memory: each holds a whole archive

    async def welcome(self, request: web.Request, target: Target) -> web.Response:
        return web.Response(text=WELCOME, content_type="text/html")

    async def info(self, request: web.Request, target: Target) -> web.Response:
        return document({"version": VERSION})

    async def health(self, request: web.Request, target: Target) -> web.Response:
        return document({"healthy": True})

    async def ready(self, request: web.Request, target: Target) -> web.Response:
        """Reads go on when the volume is full, so a full volume does not make it unready."""
        await self._catalog.index("")
        return document({"ready": True})

    async def metrics(self, request: web.Request, target: Target) -> web.Response:
        if not self._settings.enable_metrics:
            raise Refused(404, "not found")
        return web.Response(
            body=self._metrics.render(self._catalog), headers={"Content-Type": self._metrics.content_type}
        )

    async def artifact_hub(self, request: web.Request, target: Target) -> web.Response:
        if not self._settings.artifact_hub_repo_id:
            raise Refused(404, "Artifact Hub repository ID not found")
        text = f"repositoryID: {self._settings.artifact_hub_repo_id}\n"
        return web.Response(text=text, content_type="application/x-yaml")

    async def index(self, request: web.Request, target: Target) -> web.Response:
        index = await self._catalog.index(target.repo)
        headers = {"ETag": index.etag, "Content-Type": "application/x-yaml", "Vary": "Accept-Encoding"}
        if index.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        if "gzip" not in request.headers.get("Accept-Encoding", "") or len(index.body) < 1024:
            return web.Response(body=index.body, headers=headers)
        body = await asyncio.to_thread(getattr, index, "compressed")
        return web.Response(body=body, headers={**headers, "Content-Encoding": "gzip"})

    async def file(self, request: web.Request, target: Target) -> web.StreamResponse:
        suffix = next((suffix for suffix in _TYPES if target.name.endswith(suffix)), None)
        if suffix is None:
            raise Refused(500, "unsupported file extension")
        if target.name.startswith("."):
            raise Refused(404, "object not found")
        try:
            path = await self._catalog.path(target.repo, target.name)
            body = await asyncio.to_thread(path.read_bytes)
        except (NoSuchFile, FileNotFoundError):
            raise Refused(404, "object not found") from None
        headers = {"Content-Type": _TYPES[suffix]}
        known = next(
            (
                version
                for group in (await self._catalog.index(target.repo)).charts.values()
                for version in group
                if version.filename == target.name and version.stamp.size_bytes == len(body)
            ),
            None,
        ) if suffix == ".tgz" else None  # fmt: skip
        if known is not None:
            headers["ETag"] = f'"sha256:{known.document["digest"]}"'
            if headers["ETag"] in request.headers.get("If-None-Match", ""):
                return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)

    async def list_charts(self, request: web.Request, target: Target) -> web.Response:
        charts = (await self._catalog.index(target.repo)).charts
        offset = _whole(request.query.get("offset"), "offset is not a valid non-negative integer", least=0)
        limit = _whole(request.query.get("limit"), "limit is not a valid positive integer", least=1)
        names = list(charts)
        if limit is not None:
            names = names[offset or 0 : (offset or 0) + limit]
        elif offset:
            names = []  # upstream: an offset without a limit gives nothing
        return document({name: [v.document for v in charts[name]] for name in names})

    async def show_chart(self, request: web.Request, target: Target) -> web.Response:
        versions = (await self._catalog.index(target.repo)).charts.get(target.name)
        if not versions:
            raise Refused(404, "chart not found")
        return document([version.document for version in versions])

    async def show_version(self, request: web.Request, target: Target) -> web.Response:
        return document((await self._version(target)).document)

    async def templates(self, request: web.Request, target: Target) -> web.Response:
        chart = await self._content(target, ("templates/", "values.yaml"))
        values: object = yaml.safe_load(chart.files.get("values.yaml", b"")) or {}
        templates = [
            {"name": name, "data": base64.b64encode(content).decode()}
            for name, content in sorted(chart.files.items())
            if name.startswith("templates/")
        ]
        return document({"templates": templates, "values": values})

    async def values(self, request: web.Request, target: Target) -> web.Response:
        chart = await self._content(target, ("values.yaml",))
        if "values.yaml" not in chart.files:
            raise Refused(404, "values.yaml not found")
        return web.Response(body=chart.files["values.yaml"], content_type="application/yaml")

    async def upload(self, request: web.Request, target: Target) -> web.Response:
        async with self._uploads:
            force = "force" in request.query
            if request.content_type.startswith("multipart/"):
                files, chart = await self._form(request)
                await self._save(
                    target.repo, files, chart.name if chart else "", force, "chart already exists"
                )
            else:
                archive = await request.read()
                chart = await _checked(archive)
                await self._save(
                    target.repo, {chart.filename: archive}, chart.name, force, "file already exists"
                )
        return document({"saved": True}, 201)

    async def upload_provenance(self, request: web.Request, target: Target) -> web.Response:
        content = await request.read()
        try:
            filename = provenance_filename(content)
        except BadProvenance as error:
            raise Refused(500, str(error)) from error  # upstream answers 500 here, and 400 in the form
        await self._save(
            target.repo, {filename: content}, "", "force" in request.query, "file already exists"
        )
        return document({"saved": True}, 201)

    async def delete(self, request: web.Request, target: Target) -> web.Response:
        version = await self._version(target)
        try:
            await self._catalog.remove(target.repo, version)
        except NoSuchFile:
            raise Refused(404, f"no chart version found for {target.name}-{target.version}") from None
        return document({"deleted": True})

    async def _form(self, request: web.Request) -> tuple[dict[str, bytes], Chart | None]:
        """The files of a multipart upload, all checked before any is written."""
        fields = (self._settings.chart_post_form_field_name, self._settings.prov_post_form_field_name)
        parts: dict[str, bytes] = {}
        left = self._settings.max_upload_size
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if isinstance(part, BodyPartReader) and part.name in fields:
                content = bytearray()
                while chunk := await part.read_chunk(65536):
                    content += chunk
                    left -= len(chunk)
                    if left < 0:
                        raise web.HTTPRequestEntityTooLarge(self._settings.max_upload_size, len(content))
                parts[part.name or ""] = bytes(content)
        files: dict[str, bytes] = {}
        chart: Chart | None = None
        if parts.get(fields[0]):
            chart = await _checked(parts[fields[0]])
            files[chart.filename] = parts[fields[0]]
        if parts.get(fields[1]):
            try:
                files[provenance_filename(parts[fields[1]])] = parts[fields[1]]
            except BadProvenance as error:
                raise Refused(400, str(error)) from error
        if not files:
            raise Refused(
                400, f"no package or provenance file found in form fields {fields[0]} and {fields[1]}"
            )
        return files, chart

    async def _save(
        self, repo: str, files: Mapping[str, bytes], chart: str, force: bool, exists: str
    ) -> None:
        try:
            await self._catalog.save(repo, files, chart, force=force)
        except FileExists as error:
            raise Refused(409, exists) from error
        except LimitReached as error:
            raise Refused(507, "repo has reached storage limit") from error
        except StorageFull as error:
            raise Refused(507, str(error), more=_NO_ROOM) from error

    async def _version(self, target: Target) -> ChartVersion:
        if target.name not in (await self._catalog.index(target.repo)).charts:
            raise Refused(404, "no chart name found")
        try:
            found = await self._catalog.find(target.repo, target.name, target.version)
        except BadVersion as error:
            raise Refused(404, str(error)) from error
        if found is None:
            raise Refused(404, f"no chart version found for {target.name}-{target.version}")
        return found

    async def _content(self, target: Target, keep: tuple[str, ...]) -> Chart:
        version = await self._version(target)
        try:
            path = await self._catalog.path(target.repo, version.filename)
            return await asyncio.to_thread(lambda: read_chart(path.read_bytes(), keep=keep))
        except (NoSuchFile, FileNotFoundError):
            raise Refused(404, "chart filename not found") from None


async def _checked(archive: bytes) -> Chart:
    try:
        return await asyncio.to_thread(read_chart, archive)
    except BadChart as error:
        raise Refused(400, str(error)) from error


def _whole(text: str | None, complaint: str, *, least: int) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise Refused(400, complaint)
    return int(text)
