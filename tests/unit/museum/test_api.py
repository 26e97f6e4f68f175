"""Routes, codes and bodies of ChartMuseum's API (K7, K11); bad input: malformed chart, a body of 20 MB."""

import asyncio
import base64
import gzip
import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import FormData
from aiohttp.test_utils import TestClient
from tests.support.charts import chart, provenance

from edge.museum.settings import MAX_UPLOAD_SIZE_BYTES

from .conftest import Start

Client = TestClient[Any, Any]


async def _push(client: Client, body: bytes, path: str = "/api/charts", code: int = 201) -> Any:
    answer = await client.post(path, data=body)
    text = await answer.text()
    assert answer.status == code, text
    return await answer.json()


async def _names(client: Client) -> list[str]:
    return list(await (await client.get("/api/charts")).json())


def _form(**parts: bytes) -> FormData:
    form = FormData()
    for name, content in parts.items():
        form.add_field(name, BytesIO(content), filename=name, content_type="application/octet-stream")
    return form


async def test_an_uploaded_chart_is_listed_served_and_deleted(start: Start) -> None:
    client = await start()
    archive = chart("web", "1.2.0")
    assert await _push(client, archive) == {"saved": True}
    index = yaml.safe_load(await (await client.get("/index.yaml")).text())
    entry = index["entries"]["web"][0]
    assert entry["urls"] == ["charts/web-1.2.0.tgz"]
    assert entry["digest"] == hashlib.sha256(archive).hexdigest()
    served = await client.get("/charts/web-1.2.0.tgz")
    assert served.content_type == "application/x-tar"
    assert await served.read() == archive
    deleted = await client.delete("/api/charts/web/1.2.0")
    assert await deleted.json() == {"deleted": True}
    assert (await client.get("/charts/web-1.2.0.tgz")).status == 404
    assert await _names(client) == []


async def test_the_api_answers_in_upstreams_words(start: Start) -> None:
    client = await start()
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        await _push(client, chart("web", version))
    await _push(client, chart("api"))
    table: list[tuple[str, str, int, object]] = [
        ("GET", "/info", 200, {"version": "v0.16.3"}),
        ("GET", "/health", 200, {"healthy": True}),
        ("GET", "/charts/none-1.0.0.tgz", 404, {"error": "object not found"}),
        ("GET", "/charts/web.bad", 500, {"error": "unsupported file extension"}),
        ("GET", "/charts/..%2F..%2Fetc%2Fpasswd.tgz", 404, {"error": "not found"}),
        ("GET", "/api/charts/none", 404, {"error": "chart not found"}),
        ("GET", "/api/charts/none/1.0.0", 404, {"error": "no chart name found"}),
        ("GET", "/api/charts/web/9.9.9", 404, {"error": "no chart version found for web-9.9.9"}),
        ("DELETE", "/api/charts/none/1.0.0", 404, {"error": "no chart name found"}),
        ("GET", "/api/charts?offset=-1", 400, {"error": "offset is not a valid non-negative integer"}),
        ("GET", "/api/charts?limit=0", 400, {"error": "limit is not a valid positive integer"}),
        ("GET", "/api/charts?offset=1", 200, {}),
        ("GET", "/metrics", 404, {"error": "not found"}),
        ("GET", "/artifacthub-repo.yml", 404, {"error": "Artifact Hub repository ID not found"}),
        ("PATCH", "/api/charts", 404, {"error": "not found"}),
    ]
    for method, path, code, body in table:
        answer = await client.request(method, path)
        assert (path, answer.status, await answer.json()) == (path, code, body)
    assert list(await (await client.get("/api/charts?limit=1")).json()) == ["api"]
    assert list(await (await client.get("/api/charts?limit=1&offset=1")).json()) == ["web"]


async def test_latest_is_the_newest_stable_version_and_ranges_resolve(start: Start) -> None:
    client = await start()
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        await _push(client, chart("web", version))
    for wanted, found in (
        ("latest", "1.1.0"),
        ("^1.0", "1.1.0"),
        ("1.0.0", "1.0.0"),
        ("2.0.0-rc.1", "2.0.0-rc.1"),
    ):
        assert (await (await client.get(f"/api/charts/web/{wanted}")).json())["version"] == found
    assert "no version range" in (await (await client.get("/api/charts/web/junk")).json())["error"]
    assert (await client.head("/api/charts/web/1.0.0")).status == 200
    assert (await client.head("/api/charts/web/3.0.0")).status == 404


async def test_values_and_templates_are_shown(start: Start) -> None:
    client = await start()
    await _push(client, chart("web", values={"colour": "red"}))
    values = await client.get("/api/charts/web/1.0.0/values")
    assert (values.content_type, yaml.safe_load(await values.text())) == (
        "application/yaml",
        {"colour": "red"},
    )
    shown = await (await client.get("/api/charts/web/latest/templates")).json()
    assert shown["values"] == {"colour": "red"}
    assert shown["templates"][0]["name"] == "templates/configmap.yaml"
    assert b"kind: ConfigMap" in base64.b64decode(shown["templates"][0]["data"])


async def test_a_malformed_chart_is_refused_with_field_and_reason(start: Start) -> None:
    client = await start()
    refused = await _push(client, chart("web", "v1"), code=400)
    assert 'version is "v1"; accepted is a semantic version' in refused["error"]
    assert "helm package" in (await _push(client, b"junk", code=400))["error"]
    assert await _names(client) == []


async def test_a_body_over_the_limit_is_refused_and_the_museum_goes_on(start: Start) -> None:
    client = await start()
    answer = await client.post("/api/charts", data=BytesIO(bytes(MAX_UPLOAD_SIZE_BYTES + 1)))
    assert (answer.status, await answer.text(), answer.content_type) == (
        413,
        "request too large",
        "text/plain",
    )

    async def without_length():
        for _ in range(21):
            yield bytes(1024 * 1024)

    answer = await client.post("/api/charts", data=without_length())
    assert answer.status == 413
    answer = await client.post("/api/charts", data=_form(chart=bytes(MAX_UPLOAD_SIZE_BYTES + 1)))
    assert answer.status == 413
    await _push(client, chart("web"))


async def test_a_version_is_replaced_only_where_overwriting_is_allowed(start: Start, tmp_path: Path) -> None:
    strict = await start(allow_overwrite=False)
    await _push(strict, chart("web"))
    assert (await _push(strict, chart("web"), code=409)) == {"error": "file already exists"}
    answer = await strict.post("/api/charts", data=_form(chart=chart("web")))
    assert (answer.status, await answer.json()) == (409, {"error": "chart already exists"})
    replaced = chart("web", values={"colour": "red"})
    await _push(strict, replaced, "/api/charts?force")
    assert await (await strict.get("/charts/web-1.0.0.tgz")).read() == replaced
    stricter = await start(allow_overwrite=False, disable_force_overwrite=True)
    await _push(stricter, chart("web"), "/api/charts?force", code=409)
    await _push(await start(allow_overwrite=True), chart("web"))


async def test_two_writers_of_one_version_get_one_yes_and_one_no(start: Start) -> None:
    client = await start(disable_force_overwrite=True)
    bodies = [chart("web", values={"n": n}) for n in range(6)]
    answers = await asyncio.gather(*(client.post("/api/charts", data=body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409, 409, 409]
    winner = bodies[[answer.status for answer in answers].index(201)]
    assert await (await client.get("/charts/web-1.0.0.tgz")).read() == winner


async def test_a_form_saves_chart_and_provenance_together_or_not_at_all(start: Start) -> None:
    client = await start()
    bad = await client.post("/api/charts", data=_form(chart=chart("web"), prov=b"junk"))
    assert (bad.status, await bad.json()) == (400, {"error": "invalid provenance file"})
    assert await _names(client) == []
    empty = await client.post("/api/charts", data=_form(other=b"x"))
    assert empty.status == 400
    good = await client.post("/api/charts", data=_form(chart=chart("web"), prov=provenance("web", "1.0.0")))
    assert good.status == 201
    signed = await client.get("/charts/web-1.0.0.tgz.prov")
    assert (signed.status, signed.content_type) == (200, "application/pgp-signature")
    await client.delete("/api/charts/web/1.0.0")
    assert (await client.get("/charts/web-1.0.0.tgz.prov")).status == 404


async def test_a_bare_provenance_file_is_saved_beside_its_chart(start: Start) -> None:
    client = await start()
    assert (await _push(client, b"junk", "/api/prov", 500)) == {"error": "invalid provenance file"}
    await _push(client, provenance("web", "1.0.0"), "/api/prov")
    await _push(client, provenance("web", "1.0.0"), "/api/prov", 409)


async def test_preloaded_charts_are_shown_with_the_volumes(start: Start, tmp_path: Path) -> None:
    """R31; a deleted preloaded chart stays away over a restart, and comes back when uploaded again."""
    (tmp_path / "preloaded").mkdir()
    preloaded = chart("web", values={"from": "image"})
    (tmp_path / "preloaded/web-1.0.0.tgz").write_bytes(preloaded)
    client = await start(allow_overwrite=True)
    await _push(client, chart("api"))
    assert await _names(client) == ["api", "web"]
    uploaded = chart("web", values={"from": "volume"})
    await _push(client, uploaded)
    assert await (await client.get("/charts/web-1.0.0.tgz")).read() == uploaded
    await client.delete("/api/charts/web/1.0.0")
    again = await start(allow_overwrite=True)
    assert await _names(again) == ["api"]
    await _push(again, uploaded)
    assert await _names(again) == ["api", "web"]


async def test_where_overwriting_is_off_a_preloaded_chart_wins(start: Start, tmp_path: Path) -> None:
    for folder, origin in (("preloaded", "image"), ("charts", "volume")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "web-1.0.0.tgz").write_bytes(chart("web", values={"from": origin}))
    client = await start(allow_overwrite=False, disable_force_overwrite=True)
    values = await (await client.get("/api/charts/web/1.0.0/values")).text()
    assert yaml.safe_load(values) == {"from": "image"}
    await _push(client, chart("web"), code=409)


async def test_a_broken_file_on_the_volume_is_passed_over(start: Start, tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts/broken-1.0.0.tgz").write_bytes(b"half of it")
    (tmp_path / "charts/misnamed-1.0.0.tgz").write_bytes(chart("web"))
    client = await start(enable_metrics=True)
    await _push(client, chart("web"))
    assert await _names(client) == ["web"]
    metrics = await (await client.get("/metrics")).text()
    assert "edge_museum_unreadable_files 2.0" in metrics
    assert 'chartmuseum_chart_versions_served_total{repo=""} 1.0' in metrics


async def test_a_file_copied_into_the_volume_appears(start: Start, tmp_path: Path) -> None:
    client = await start()
    assert await _names(client) == []
    (tmp_path / "charts/web-1.0.0.tgz").write_bytes(chart("web"))
    async with asyncio.timeout(60):
        while await _names(client) != ["web"]:  # noqa: ASYNC110 the museum looks once a second
            await asyncio.sleep(0.05)


async def test_an_unchanged_index_is_not_sent_twice(start: Start) -> None:
    client = await start()
    for number in range(20):
        await _push(client, chart(f"web-{number}"))
    first = await client.get("/index.yaml", headers={"Accept-Encoding": "identity"})
    second = await client.get("/index.yaml", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status, await second.read()) == (304, b"")
    client.session._auto_decompress = False
    packed = await client.get("/index.yaml", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(await packed.read()) == await first.read()
    archive = await client.get("/charts/web-3-1.0.0.tgz")
    cached = {"If-None-Match": archive.headers["ETag"]}
    assert (await client.get("/charts/web-3-1.0.0.tgz", headers=cached)).status == 304


async def test_only_the_newest_versions_of_a_chart_are_kept(start: Start) -> None:
    client = await start(per_chart_limit=2)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await _push(client, chart("web", version))
    await _push(client, chart("api"))
    shown = await (await client.get("/api/charts/web")).json()
    assert [v["version"] for v in shown] == ["1.2.0", "1.1.0"]


async def test_a_full_repository_takes_no_more_files(start: Start) -> None:
    client = await start(max_storage_objects=1, allow_overwrite=True)
    await _push(client, chart("web"))
    await _push(client, chart("web"))
    refused = await _push(client, chart("api"), code=507)
    assert refused == {"error": "repo has reached storage limit"}


async def test_repositories_of_some_depth_are_apart(start: Start) -> None:
    client = await start(depth=2)
    await _push(client, chart("web"), "/api/org/team/charts")
    assert "web" in await (await client.get("/org/team/index.yaml")).text()
    assert "web" not in await (await client.get("/org/other/index.yaml")).text()
    assert (await client.get("/index.yaml")).status == 404


async def test_the_api_and_deleting_can_be_switched_off(start: Start) -> None:
    closed = await start(disable_api=True)
    assert (await closed.post("/api/charts", data=chart("web"))).status == 404
    assert (await closed.get("/index.yaml")).status == 200
    keeping = await start(disable_delete=True)
    await _push(keeping, chart("web"))
    assert (await keeping.delete("/api/charts/web/1.0.0")).status == 404


async def test_credentials_are_asked_for_where_they_are_set(start: Start) -> None:
    client = await start(basic_auth_user="robot", basic_auth_pass="s3cret", auth_anonymous_get=True)
    refused = await client.post("/api/charts", data=chart("web"))
    assert (refused.status, await refused.json()) == (401, {"error": "unauthorized"})
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="edge-museum"'
    for given in ("robot:wrong", "robot", ""):
        header = {"Authorization": f"Basic {base64.b64encode(given.encode()).decode()}"}
        assert (await client.post("/api/charts", data=chart("web"), headers=header)).status == 401
    right = {"Authorization": f"Basic {base64.b64encode(b'robot:s3cret').decode()}"}
    assert (await client.post("/api/charts", data=chart("web"), headers=right)).status == 201
    assert (await client.get("/index.yaml")).status == 200
    private = await start(basic_auth_user="robot", basic_auth_pass="s3cret")
    assert (await private.get("/index.yaml")).status == 401
    assert (await private.get("/health")).status == 200


async def test_each_answer_carries_the_request_id(start: Start) -> None:
    client = await start()
    assert (await client.get("/", headers={"X-Request-Id": "abc"})).headers["X-Request-Id"] == "abc"
    assert (await client.get("/none")).headers["X-Request-Id"]


@pytest.mark.parametrize("name", ["charts", "api", "prov", "index", "latest"])
async def test_a_chart_may_have_the_name_of_a_route(start: Start, name: str) -> None:
    client = await start()
    await _push(client, chart(name))
    assert (await (await client.get(f"/api/charts/{name}/latest")).json())["name"] == name
