"""ReverseProxy objects as routes of the gateway (G5, S17): served live, in nobody's name but the caller's."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio
from tests.support.acting import grant
from tests.support.gateway import IAM, PATIENCE_S, RunningGateway, make_user, somebody
from tests.support.upstreams import Closing, Shop, raw_server, reverse_proxy, shop

from edge.iam.types import PolicyRule
from edge.operate.types import ReverseProxy
from edge.pki import issue, make_ca
from edge_kube.client import Client
from edge_kube.harness import LightCluster

ISSUER = "https://edge.example.com"
SETTINGS = {"server.loopbackUpstreams": "true"}


@pytest_asyncio.fixture
async def gateway(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    running = RunningGateway(gateway_cluster.connection, SETTINGS)
    running.server.reverse.lookup = here
    async with running as made:
        yield made


async def here(name: str, port: int) -> tuple[list[str], str]:
    """Services are on this machine; one is of type ExternalName, one answers like a rebinding name server."""
    if name.startswith("alias."):
        return ["127.0.0.1"], "kubernetes.default.svc.cluster.local"
    if name.startswith("metadata."):
        return ["127.0.0.1", "169.254.169.254"], name
    return ["127.0.0.1"], name


@pytest_asyncio.fixture
async def backend() -> AsyncIterator[Shop]:
    async with shop() as made:
        yield made


def told(body: bytes) -> dict[str, Any]:
    return json.loads(body)


async def test_an_object_is_served_from_its_creation_to_its_end_without_a_restart(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    token = await gateway.token()
    assert (await gateway.get("/shop/a/b?x=1&y=%2F", token=token)).status == 404
    async with reverse_proxy(kube, "/shop/*", backend.port, host="shop.default.svc") as key:
        await gateway.until("/shop/a", 200, token=token)
        answer = await gateway.get("/shop/a/b?x=1&y=%2F", token=token)
        assert told(answer.body)["path"] == "/shop/a/b?x=1&y=%2F"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        await kube.merge(ReverseProxy, key, {"spec": {"directives": {"stripPathPrefix": "/shop"}}})
        async with asyncio.timeout(PATIENCE_S):
            while told((await gateway.get("/shop/a", token=token)).body)["path"] != "/a":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await gateway.until("/shop/a", 404, token=token)
    async with asyncio.timeout(PATIENCE_S):
        while not all(one is None or one.is_closing() for one in backend.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_two_replicas_serve_the_same(
    gateway: RunningGateway, gateway_cluster: LightCluster, kube: Client, backend: Shop
) -> None:
    async with RunningGateway(gateway_cluster.connection, SETTINGS) as second:
        async with reverse_proxy(kube, "/shop/*", backend.port):
            for one in (gateway, second):
                await one.until("/shop/a", 200, token=await one.token())
        for one in (gateway, second):
            await one.until("/shop/a", 404, token=await one.token())


async def test_the_longest_path_answers_and_of_two_equal_ones_the_older(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    token = await gateway.token()
    async with (
        reverse_proxy(kube, "/shop/*", backend.port, name="wide", headerUp=["X-Which wide"]),
        reverse_proxy(kube, "/shop/deep/*", backend.port, name="deep", headerUp=["X-Which deep"]),
    ):
        await gateway.until("/shop/deep/x", 200, token=token)
        await gateway.until("/shop/x", 200, token=token)

        async def which(path: str) -> str:
            headers = told((await gateway.get(path, token=token)).body)["headers"]
            return next(value for name, value in headers if name == "X-Which")

        assert (await which("/shop/x"), await which("/shop/deep/x")) == ("wide", "deep")
        await asyncio.sleep(1.1)  # ages are whole seconds
        async with reverse_proxy(kube, "/shop/*", backend.port, name="younger", headerUp=["X-Which young"]):
            path = f"{IAM}/namespaces/default/reverseproxies/younger"
            await gateway.until(path, 200, token=token)
            assert await which("/shop/x") == "wide"
            await kube.delete(ReverseProxy, "wide", "default")
            async with asyncio.timeout(PATIENCE_S):
                while await which("/shop/x") != "young":  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await kube.create(_again("wide", backend.port), manager="test")


def _again(name: str, port: int) -> dict[str, Any]:
    return {
        "apiVersion": "iam.theriseunion.io/v1alpha1",
        "kind": "ReverseProxy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "matcher": {"path": "/other/*"},
            "upstream": {"host": "127.0.0.1", "port": port, "scheme": "http"},
        },
    }


async def test_methods_paths_and_headers_are_changed_as_the_object_says(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    token = await gateway.token()
    backend.answers["/rest/m/v1/q"] = (200, {"X-Inner": "secret", "Server": "nginx"}, b"ok")
    async with reverse_proxy(
        kube, "/oapis/metrics.example.com/v1/*", backend.port,
        rewrite=[{"from": "^/oapis/metrics.example.com/v1/(.*)$", "to": "/rest/m/v1/$1"}],
        headerUp=["X-Tenant press", "-Referer", "+Accept text/plain"], headerDown=["-X-Inner", "X-Outer yes"],
    ):  # fmt: skip
        path = "/oapis/metrics.example.com/v1/q"
        await gateway.until(path, 200, token=token)
        answer = await gateway.get(path, token=token, headers={"Referer": "x"})
        seen = backend.seen[-1]
        assert (seen.path, seen.all("X-Tenant"), seen.all("Referer")) == ("/rest/m/v1/q", ["press"], [])
        assert ("X-Inner" in answer.headers, answer.headers["X-Outer"]) == (False, "yes")
        assert answer.headers["Server"] == "edge-apiserver"
        assert (await gateway.get(path.replace("oapis", "kapis"), token=token)).body == b"ok"
        posted = await gateway.ask("POST", path, token=token, data=b"body")
        assert (posted.status, backend.seen[-1].body) == (200, b"body")


async def test_nothing_of_the_callers_credentials_reaches_the_upstream(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    token = await gateway.token()
    async with reverse_proxy(kube, "/shop/*", backend.port):
        await gateway.until("/shop/a", 200, token=token)
        sent = {
            "Cookie": "edge_session=s; own=1",
            "Impersonate_User": "root",
            "X-Remote-User": "root",
            "X_Remote_Group": "root",
            "X-Edge-Identity": "forged",
            "X-Forwarded-For": "6.6.6.6",
            "X-Forwarded-Prefix": "/evil",
            "Connection": "X-Keep",
            "X-Keep": "1",
            "X-Http-Method-Override": "DELETE",
            "X_HTTP_Method_Override": "DELETE",
            "X-Original-URL": "/admin",
            "X-Rewrite-URL": "/admin",
            "X-Real-IP": "6.6.6.6",
        }
        await gateway.get("/shop/a", token=token, headers=sent)
        seen = backend.seen[-1]
        names = {name.lower().replace("_", "-") for name, _ in seen.headers}
        assert names.isdisjoint({"authorization", "impersonate-user", "x-remote-user", "x-remote-group"})
        assert names.isdisjoint({"x-edge-identity", "x-keep"})
        assert names.isdisjoint({"x-http-method-override", "x-original-url", "x-rewrite-url", "x-real-ip"})
        assert seen.all("Cookie") == ["own=1"]
        assert seen.all("X-Forwarded-For") == ["127.0.0.1"]
        assert seen.all("X-Forwarded-Prefix") == ["/shop"]


async def test_auth_proxy_introduces_the_caller_with_a_signed_token_for_this_upstream_alone(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    await make_user(kube, "anna", admin=True, groups=("ops", "größe"))
    await gateway.knows("anna", admin=True)
    token = await gateway.token("anna")
    async with reverse_proxy(kube, "/shop/*", backend.port, authProxy=True):
        await gateway.until("/shop/a", 200, token=token)
        seen = backend.seen[-1]
        (identity,) = seen.all("X-Edge-Identity")
        keys = jwt.PyJWKSet.from_dict((await gateway.get("/.well-known/edge-proxy-keys")).json())
        key = keys[jwt.get_unverified_header(identity)["kid"]]
        claims = jwt.decode(
            identity, key, algorithms=["EdDSA"], audience="reverseproxy/default/shop", issuer=ISSUER
        )
        assert (claims["sub"], claims["groups"]) == ("anna", ["ops", "größe"])
        assert claims["exp"] - claims["iat"] == 60
        assert seen.all("X-Remote-User") == ["anna"]
        assert seen.all("X-Remote-Group") == ["ops", "gr%C3%B6%C3%9Fe"]
        assert (await gateway.get("/api/v1/namespaces", token=identity)).status == 401
        with pytest.raises(jwt.InvalidAudienceError):
            jwt.decode(identity, key, algorithms=["EdDSA"], audience="reverseproxy/default/other")


async def test_who_acts_as_somebody_is_introduced_to_no_upstream_in_that_name(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    """It may open a session for whom it is told; without an introduction it learns nobody's name."""
    token, headers = await gateway.token(), {"Impersonate-User": await somebody(gateway, kube, admin=True)}
    async with (
        reverse_proxy(kube, "/shop/*", backend.port, authProxy=True),
        reverse_proxy(kube, "/plain/*", backend.port, name="plain"),
    ):
        for path, status in (("/shop/a", 403), ("/plain/a", 200)):
            await gateway.until(path, 200, token=token)
            backend.seen.clear()
            assert (await gateway.get(path, token=token, headers=headers)).status == status
            assert len(backend.seen) == (status == 200)
        assert backend.seen[0].all("Impersonate-User") == backend.seen[0].all("X-Remote-User") == []


async def test_only_who_may_gets_through_by_the_path_or_by_the_resource(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    for name in ("bert", "cleo", "dora"):
        await make_user(kube, name)
        await gateway.knows(name)
    rules = {
        "bert": PolicyRule(verbs=("get",), non_resource_urls=("/shop/*",)),
        "cleo": PolicyRule(verbs=("list", "get"), api_groups=("stock",), resources=("goods",)),
    }
    for name, rule in rules.items():
        await grant(gateway, kube, name, rule)
    api = "/oapis/stock.theriseunion.io/v1"
    async with (
        reverse_proxy(kube, "/shop/*", backend.port),
        reverse_proxy(kube, f"{api}/*", backend.port, name="stock"),
    ):
        bert, cleo, dora = [await gateway.token(name) for name in ("bert", "cleo", "dora")]
        await gateway.until("/shop/a", 200, token=bert)
        await gateway.until(f"{api}/goods", 200, token=cleo)
        assert (await gateway.ask("DELETE", "/shop/a", token=bert)).status == 403
        assert (await gateway.get(f"{api}/goods", token=bert)).status == 403
        assert (await gateway.get(f"{api}/prices", token=cleo)).status == 403
        refused = await gateway.get("/shop/a", token=dora)
        assert (refused.status, refused.json()["reason"]) == (403, "Forbidden")
        assert "/shop/*" in refused.json()["message"]
        assert (await gateway.get("/shop/a")).status == 401
        first = await gateway.token("fresh")
        assert (await gateway.get("/shop/a", token=first)).json()["edge"]["code"] == "PasswordChangeRequired"


async def test_a_web_socket_goes_through_and_ends_with_its_object(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    headers = {"Authorization": f"Bearer {await gateway.token()}"}
    async with reverse_proxy(kube, "/shop/*", backend.port):
        await gateway.until("/shop/a", 200, token=await gateway.token())
        socket = await gateway.session.ws_connect(f"{gateway.url}/shop/ws", headers=headers)
        await socket.send_str("hello")
        assert (await socket.receive(PATIENCE_S)).data == "shop says hello"
    message = await socket.receive(PATIENCE_S)
    assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
    await socket.close()


async def test_answers_stay_packed_and_redirects_are_passed_on_not_followed(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    token = await gateway.token()
    bomb = gzip.compress(b"\0" * 50_000_000)
    backend.answers["/shop/bomb"] = (200, {"Content-Encoding": "gzip"}, bomb)
    inside = {"Location": f"http://127.0.0.1:{backend.port}/login"}
    backend.answers["/shop/to"] = (302, inside, b"")
    backend.answers["/shop/meta"] = (307, {"Location": "http://169.254.169.254/latest"}, b"")
    backend.answers["/shop/cookie"] = (
        200, {"Set-Cookie": "edge_session=mine; Path=/", "Clear-Site-Data": '"cookies"'}, b"x",
    )  # fmt: skip
    async with reverse_proxy(kube, "/shop/*", backend.port):
        await gateway.until("/shop/a", 200, token=token)
        packed = await gateway.get("/shop/bomb", token=token)
        assert (packed.headers["Content-Encoding"], len(packed.body)) == ("gzip", len(bomb))
        count = len(backend.seen)
        moved = await gateway.get("/shop/to", token=token)
        assert (moved.status, moved.headers["Location"]) == (302, "/shop/login")
        assert (await gateway.get("/shop/meta", token=token)).status == 307
        assert len(backend.seen) == count + 2
        answer = await gateway.get("/shop/cookie", token=token)
        assert "Set-Cookie" not in answer.headers
        assert "Clear-Site-Data" not in answer.headers


async def test_links_of_pages_are_led_back_when_the_object_says_so(
    gateway: RunningGateway, kube: Client, backend: Shop
) -> None:
    token = await gateway.token()
    html = {"Content-Type": "text/html; charset=utf-8"}
    backend.answers["/page"] = (200, html, b'<a href="/x">x</a>')
    backend.answers["/long"] = (200, html, b'<a href="/x">x</a>' + b" " * 3_000_000)
    async with reverse_proxy(kube, "/shop/*", backend.port, wrapTransport=True, stripPathPrefix="/shop"):
        await gateway.until("/shop/a", 200, token=token)
        page = await gateway.get("/shop/page", token=token, headers={"Accept-Encoding": "gzip"})
        assert page.body == b'<a href="/shop/x">x</a>'
        assert not backend.seen[-1].all("Accept-Encoding")
        long = await gateway.get("/shop/long", token=token)
        assert (long.body[:18], len(long.body)) == (b'<a href="/x">x</a>', 3_000_018)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("alias.default.svc", "ExternalName"),
        ("metadata.default.svc", "169.254.169.254"),
        ("metadata.example.com", "169.254.169.254"),
    ],
)
async def test_S17_an_upstream_that_resolves_to_a_forbidden_place_is_never_dialled(
    gateway: RunningGateway, kube: Client, backend: Shop, host: str, why: str
) -> None:
    token = await gateway.token()
    async with reverse_proxy(kube, "/shop/*", backend.port, host=host):
        await gateway.until("/shop/a", 503, token=token)
        answer = await gateway.get("/shop/a", token=token)
        assert answer.json()["edge"]["code"] == "UpstreamUnreachable"
        assert why in answer.json()["message"]
        websocket = {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert (await gateway.get("/shop/a", token=token, headers=websocket)).status == 503
        assert not backend.connections


async def test_S17_loopback_and_the_gateway_itself_are_refused_unless_a_setting_says_so(
    gateway_cluster: LightCluster, kube: Client, backend: Shop
) -> None:
    running = RunningGateway(gateway_cluster.connection)
    running.server.reverse.lookup = here
    async with running as gateway:
        token = await gateway.token()
        for host, status in (("127.0.0.1", 404), ("shop.default.svc", 503), ("127.1", 404)):
            async with reverse_proxy(kube, "/shop/*", backend.port, host=host):
                await gateway.until(f"{IAM}/namespaces/default/reverseproxies/shop", 200, token=token)
                await gateway.until("/shop/a", status, token=token)
        assert not backend.connections


async def test_a_name_that_changes_its_mind_after_the_check_gains_nothing(
    gateway_cluster: LightCluster, kube: Client, backend: Shop
) -> None:
    """DNS rebinding: what was judged is what is dialled; the second look is judged as the first was (S17)."""
    running = RunningGateway(gateway_cluster.connection, SETTINGS)
    asked: list[str] = []

    async def rebinding(name: str, port: int) -> tuple[list[str], str]:
        asked.append(name)
        return (["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]), name

    running.server.reverse.lookup = rebinding
    async with running as gateway, reverse_proxy(kube, "/shop/*", backend.port, host="rebind.example.com"):
        token = await gateway.token()
        await gateway.until("/shop/a", 200, token=token)
        websocket = {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert (await gateway.get("/shop/a", token=token, headers=websocket)).status == 503


async def test_a_certificate_is_checked_against_the_bundle_unless_the_object_says_not_to(
    gateway: RunningGateway, kube: Client, tmp_path: Path
) -> None:
    token, now = await gateway.token(), datetime.now(UTC)
    authority = make_ca("shop", now=now)
    serving = issue(authority, "shop", usage=("server",), sans=["shop.default.svc"], now=now)
    (tmp_path / "pair").write_bytes(serving.cert + serving.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pair")
    bundle, another = authority.cert.decode(), make_ca("else", now=now).cert.decode()
    cases: list[tuple[str, dict[str, Any], int]] = [
        ("shop.default.svc", {"caBundle": bundle}, 200),
        ("shop.default.svc", {"caBundle": another}, 503),
        ("other.default.svc", {"caBundle": bundle}, 503),
        ("shop.default.svc", {}, 503),
        ("shop.default.svc", {"insecureSkipVerify": True}, 200),
    ]
    async with shop(context) as backend:
        for number, (host, upstream, status) in enumerate(cases):
            path = f"/tls{number}/*"
            async with reverse_proxy(
                kube, path, backend.port, host=host, name=f"tls{number}", scheme="https", upstream=upstream
            ):
                await gateway.until(f"/tls{number}/a", status, token=token)


async def test_a_dead_upstream_is_told_at_once_and_a_silent_one_fills_its_own_seats_only(
    gateway_cluster: LightCluster, kube: Client, backend: Shop, admin: str
) -> None:
    settings = {**SETTINGS, "server.requestTimeout": "3s", "server.maxPerMember": "5"}

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        RunningGateway(gateway_cluster.connection, settings) as gateway,
        raw_server(silent) as port,
        reverse_proxy(kube, "/silent/*", port, name="silent"),
        reverse_proxy(kube, "/shop/*", backend.port),
        reverse_proxy(kube, "/dead/*", 1, name="dead"),
    ):
        token = admin
        await gateway.until("/shop/a", 200, token=token)
        await gateway.until("/dead/a", 503, token=token)
        dead = await gateway.get("/dead/a", token=token)
        assert "does not answer since 20" in dead.json()["message"]
        assert "Retry-After" in dead.headers
        await gateway.until("/silent/a", 504, token=token)
        many = [asyncio.create_task(gateway.get("/silent/a", token=token)) for _ in range(20)]
        assert (await gateway.get("/shop/a", token=token)).status == 200
        codes = {answer.status for answer in await asyncio.gather(*many)}
        assert codes <= {503, 504}
        after = await gateway.get("/silent/a", token=token)
        assert (after.status, after.json()["edge"]["code"]) == (503, "UpstreamUnreachable")


async def test_a_change_that_meets_a_dead_connection_is_sent_once_and_said_to_be_open(
    gateway: RunningGateway, kube: Client
) -> None:
    server = Closing()
    async with (
        raw_server(server.serve) as port,
        reverse_proxy(kube, "/closing/*", port, name="closing"),
    ):
        token = await gateway.token()
        await gateway.until("/closing/a", 200, token=token)
        answer = await gateway.ask("PUT", "/closing/a", token=token, data=b"{}")
        assert (answer.status, answer.json()["edge"]["code"]) == (502, "UpstreamFailed")
        assert "may have been done or not" in answer.json()["message"]
        assert "Retry-After" not in answer.headers  # client-go would send it again by itself
        assert server.count("PUT") == 1


async def test_an_upstream_that_is_the_gateway_again_ends_in_508(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    async with reverse_proxy(kube, "/loop/*", gateway.port, name="loop"):
        # The gateway strips the caller's token, so a loop ends at its own door as well.
        await gateway.until("/loop/a", 401, token=token)
        looped = await gateway.get("/loop/a", token=token, headers={"Via": "1.1 edge-apiserver"})
        assert (looped.status, looped.json()["edge"]["code"]) == (508, "LoopDetected")


async def test_many_event_streams_leave_connections_for_other_requests(
    gateway: RunningGateway, kube: Client
) -> None:
    events = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"text/event-stream" in head:
                writer.write(events + b"2\r\n: \r\n")
                await reader.read()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    token = await gateway.token()
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with (
        raw_server(serve) as port,
        reverse_proxy(kube, "/events/*", port, name="events"),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await gateway.until("/events/a", 200, token=token)
        opened = [session.get(f"{gateway.url}/events/{n}", headers=headers) for n in range(120)]
        streams = await asyncio.gather(*opened)
        assert {one.status for one in streams} == {200}
        async with asyncio.timeout(PATIENCE_S):
            assert (await gateway.get("/events/plain", token=token)).body == b"ok"
        for one in streams:
            one.close()
