"""Charts are fetched by one GET, kept, and looked up again by conditional requests (K3)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from tests.support.charts import chart

from edge.adapters.chart_fetch import ChartFetcher
from edge.components.ports import ChartTrouble
from edge.components.types import ResolvedChart
from edge.museum.server import build
from edge.museum.settings import Settings


class Repository:
    """A museum with a list of the requests it got."""

    def __init__(self, root: Path) -> None:
        self.root = root / "charts"
        self.requests: list[str] = []
        settings = Settings(
            storage_local_rootdir=self.root, storage_preloaded_rootdir=root / "none", allow_overwrite=True
        )
        app = build(settings)

        @web.middleware
        async def note(request: web.Request, handler: Any) -> web.StreamResponse:
            answer = await handler(request)
            self.requests.append(f"{request.method} {request.path} {answer.status}")
            return answer

        app.middlewares.append(note)
        self.server = TestServer(app)

    async def put(self, name: str, version: str = "1.0.0", **more: Any) -> str:
        """Upload a chart; not counted. Returns its digest."""
        body = chart(name, version, **more)
        async with ClientSession() as session, session.post(f"{self.url}/api/charts", data=body) as answer:
            assert answer.status == 201
        self.requests.clear()
        return hashlib.sha256(body).hexdigest()

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[Repository]:
    made = Repository(tmp_path)
    await made.server.start_server()
    yield made
    await made.server.close()


@pytest.fixture
async def fetcher(repository: Repository, tmp_path: Path) -> AsyncIterator[ChartFetcher]:
    made = ChartFetcher(repository.url, tmp_path / "builtin", tmp_path / "scratch", fresh_s=0.0)
    yield made
    await made.close()


async def test_an_exact_version_is_one_get(fetcher: ChartFetcher, repository: Repository) -> None:
    digest = await repository.put("web")
    found = await fetcher.resolve("", "web", "1.0.0", None)
    archive = await fetcher.archive("", found)
    assert found == ResolvedChart(name="web", version="1.0.0", digest=digest)
    assert hashlib.sha256(Path(archive.path).read_bytes()).hexdigest() == digest
    assert repository.requests == ["GET /charts/web-1.0.0.tgz 200"]


async def test_many_at_once_share_one_get(repository: Repository, tmp_path: Path) -> None:
    await repository.put("web")
    fetcher = ChartFetcher(repository.url, tmp_path, tmp_path / "scratch", fresh_s=60)
    await asyncio.gather(*(fetcher.resolve("", "web", "1.0.0", None) for _ in range(20)))
    await fetcher.close()
    assert repository.requests == ["GET /charts/web-1.0.0.tgz 200"]


async def test_unchanged_bytes_are_not_sent_again_and_changed_ones_are_seen(
    fetcher: ChartFetcher, repository: Repository
) -> None:
    await repository.put("web")
    first = await fetcher.resolve("", "web", "1.0.0", None)
    assert await fetcher.resolve("", "web", "1.0.0", None) == first
    assert repository.requests[-1].endswith("304")
    digest = await repository.put("web", values={"colour": "other"})
    assert (await fetcher.resolve("", "web", "1.0.0", None)).digest == digest


async def test_a_range_takes_the_index_and_the_archive(fetcher: ChartFetcher, repository: Repository) -> None:
    for version in ("1.0.0", "1.2.0", "2.0.0"):
        await repository.put("web", version)
    assert (await fetcher.resolve(f"{repository.url}/", "web", "^1", None)).version == "1.2.0"
    assert repository.requests == ["GET /index.yaml 200", "GET /charts/web-1.2.0.tgz 200"]


async def test_a_lost_archive_is_fetched_again(
    fetcher: ChartFetcher, repository: Repository, tmp_path: Path
) -> None:
    await repository.put("web")
    found = await fetcher.resolve("", "web", "1.0.0", None)
    (tmp_path / "scratch/charts" / f"{found.digest}.tgz").unlink()
    assert Path((await fetcher.archive("", found)).path).exists()
    await repository.put("web", values={"colour": "other"})
    (tmp_path / "scratch/charts" / f"{found.digest}.tgz").unlink()
    with pytest.raises(ChartTrouble, match="changed while it was installed"):
        await fetcher.archive("", found)


async def test_what_cannot_be_had_says_why(
    fetcher: ChartFetcher, repository: Repository, tmp_path: Path
) -> None:
    await repository.put("web", "1.0.0")
    await repository.put("web", "1.1.0")
    (repository.root / "fake-1.0.0.tgz").write_bytes(chart("other"))
    (repository.root / "junk-1.0.0.tgz").write_bytes(b"junk")
    for name, version, reason, part in (
        ("web", "9.0.0", "ChartNotFound", f"{repository.url}/charts/web-9.0.0.tgz (404)"),
        ("web", "9.0.0", "ChartNotFound", "1.1.0, 1.0.0"),
        ("web", "^9", "ChartNotFound", "/index.yaml (not listed)"),
        ("none", "", "ChartNotFound", "correct spec.chart.name"),
        ("fake", "1.0.0", "BadChart", "holds other 1.0.0, not fake 1.0.0"),
        ("junk", "1.0.0", "BadChart", "is no chart"),
    ):
        with pytest.raises(ChartTrouble) as trouble:
            await fetcher.resolve("", name, version, None)
        assert trouble.value.reason == reason
        assert part in trouble.value.message
    for url in ("http://127.0.0.1:9", "oci://registry/charts"):
        with pytest.raises(ChartTrouble) as trouble:
            await fetcher.resolve(url, "web", "1.0.0", None)
        assert trouble.value.reason == "ChartUnavailable"
        assert url in trouble.value.message


async def test_what_is_installed_stays_known_while_the_repository_is_away(fetcher: ChartFetcher) -> None:
    known = ResolvedChart(name="web", version="1.2.0", digest="d")
    for wanted in ("1.2.0", "^1", ""):
        assert await fetcher.resolve("http://127.0.0.1:9", "web", wanted, known) == known
    with pytest.raises(ChartTrouble):
        await fetcher.resolve("http://127.0.0.1:9", "web", "1.3.0", known)


async def test_the_images_charts_are_found_by_exact_version_and_range(
    fetcher: ChartFetcher, tmp_path: Path
) -> None:
    (tmp_path / "builtin").mkdir()
    for name, version in (("etcd", "1.0.0"), ("etcd", "1.1.0"), ("etcd-backup", "9.0.0")):
        (tmp_path / f"builtin/{name}-{version}.tgz").write_bytes(chart(name, version))
    assert (await fetcher.resolve("builtin", "etcd", "1.0.0", None)).version == "1.0.0"
    newest = await fetcher.resolve("builtin", "etcd", "", None)
    assert newest.version == "1.1.0"
    assert (await fetcher.archive("builtin", newest)).path.endswith("etcd-1.1.0.tgz")
    with pytest.raises(ChartTrouble, match=r"1\.1\.0, 1\.0\.0"):
        await fetcher.resolve("builtin", "etcd", "2.0.0", None)
