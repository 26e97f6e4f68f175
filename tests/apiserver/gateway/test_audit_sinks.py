"""Records on volumes of their own: two gateways and three sinks, on a real API server (O6; design §4.1)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.apiserver.gateway.test_audit import AUDIT, MAPS, asked, change, configmap, fresh_name
from tests.support.gateway import PATIENCE_S, RunningGateway
from yarl import URL

from edge.apiserver.auditing.key import SECRET_NAME, known_keys, publish_keys
from edge.apiserver.configuration.settings import AuditSettings, LogSettings
from edge.apiserver.sinks.main import SinkProcess
from edge.apiserver.sinks.settings import SinkSettings, read_sink_settings
from edge.apiserver.sinks.signed import HEADER, sign
from edge.apiserver.sinks.trust import SINKS_SECRET
from edge.audit.received import Received
from edge.audit.verify import verify
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port

NAMESPACE = "edge-system"
KEY = Ed25519PrivateKey.generate()
"""Of a gateway that is played here."""
TOKEN = "/api/v1/namespaces/{}/serviceaccounts/{}/token"


async def account_token(client: Client, name: str, audience: str = "edge-audit") -> str:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    await client.apply(account, manager="test")
    body = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    response = await client.raw("POST", TOKEN.format(NAMESPACE, name), data=msgspec.json.encode(body))
    async with response:
        return (await response.json())["status"]["token"]


class Sinks:
    """Three of them; `stop` and `start` one by its number."""

    def __init__(self, cluster: LightCluster, folder: Path, tokens: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self.tokens = tokens
        self.ports = [free_port() for _ in range(3)]
        self.running: dict[int, SinkProcess] = {}

    @property
    def urls(self) -> list[str]:
        return [f"https://localhost:{port}" for port in self.ports]

    async def start(self, number: int) -> None:
        others = [url for at, url in enumerate(self.urls) if at != number]
        flags = {
            "sink.host": "127.0.0.1",
            "sink.port": str(self.ports[number]),
            "sink.peers": ",".join(others),
            "audit.folder": str(self._folder / f"sink-{number}"),
            "audit.refuseAtPercent": "100",
            "audit.enoughFree": "0",
            "audit.sinkTokenFile": str(self.tokens / "edge-audit"),
            "sink.address": self.urls[number],
        }
        settings = read_sink_settings(file=None, environ={}, flags=flags)
        self.running[number] = SinkProcess(self._cluster.connection, settings)
        await self.running[number].start()

    async def stop(self, number: int) -> None:
        await self.running.pop(number).stop()

    def received(self, number: int) -> Received:
        return self.running[number].received


@pytest_asyncio.fixture
async def sinks(gateway_cluster: LightCluster, kube: Client, tmp_path: Path) -> AsyncIterator[Sinks]:
    for name in ("edge-apiserver", "edge-audit"):
        (tmp_path / name).write_text(await account_token(kube, name))
    made = Sinks(gateway_cluster, tmp_path, tmp_path)
    for number in range(3):
        await made.start(number)
    yield made
    for number in list(made.running):
        await made.stop(number)


def gateway_settings(sinks: Sinks) -> dict[str, str]:
    return {
        "audit.sinks": ",".join(sinks.urls),
        "audit.sinkTokenFile": str(sinks.tokens / "edge-apiserver"),
        "audit.acknowledgeWithin": "30s",
    }


async def until(true: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - others change it
            await asyncio.sleep(0.1)


async def test_two_gateways_share_one_trail_and_a_lost_sink_stops_nothing(
    gateway_cluster: LightCluster, sinks: Sinks
) -> None:
    async with AsyncExitStack() as stack:
        settings = gateway_settings(sinks)
        one, two = [
            await stack.enter_async_context(RunningGateway(gateway_cluster.connection, settings))
            for _ in range(2)
        ]
        token, names = await one.token(), [fresh_name() for _ in range(3)]
        assert (await change(one, "POST", MAPS, token, configmap(names[0]))).status == 201
        await sinks.stop(2)
        assert (await change(two, "POST", MAPS, token, configmap(names[1]))).status == 201
        await sinks.start(2)
        assert (await change(one, "POST", MAPS, token, configmap(names[2]))).status == 201
        for gateway in (one, two):
            found = await asked(gateway, token, resource="configmaps", verb="create", user="admin")
            assert set(names) <= {entry["req"]["name"] for entry in found}
        page = await one.get(f"{AUDIT}/records", token=token, params={"limit": "2"})
        following = {"limit": "2", "cursor": page.json()["cursor"]}
        second = await one.get(f"{AUDIT}/records", token=token, params=following)
        ids = [entry["id"] for answer in (page, second) for entry in answer.json()["items"]]
        assert len(set(ids)) == 4
        report = (await one.get(f"{AUDIT}/verification", token=token)).json()
        assert (report["whole"], report["chains"]) == (True, 2)
        # What it missed comes from the ring of the writer, or from its peers.
        wanted = {chain: state.seq for chain, state in sinks.received(0).states().items()}
        await until(lambda: all(sinks.received(2).state(chain).seq >= seq for chain, seq in wanted.items()))
    for number in range(3):
        assert verify(sinks.received(number).folder).broken is None


async def test_without_enough_sinks_nothing_is_changed_and_reads_go_on(
    gateway: RunningGateway, gateway_cluster: LightCluster, sinks: Sinks
) -> None:
    settings = {**gateway_settings(sinks), "audit.acknowledgeWithin": "1s"}
    token, name = await gateway.token(), fresh_name()  # where a sign-in has more than a second
    async with RunningGateway(gateway_cluster.connection, settings) as hasty:
        await sinks.stop(0)
        await sinks.stop(1)
        refused = await change(hasty, "POST", MAPS, token, configmap(name))
        assert (refused.status, refused.json()["edge"]["code"]) == (503, "AuditUnavailable")
        assert (await hasty.get(MAPS, token=token)).status == 200
        await sinks.start(0)
        async with asyncio.timeout(PATIENCE_S):
            while (await change(hasty, "POST", MAPS, token, configmap(name))).status != 201:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_a_stopped_sink_takes_nothing_on_a_connection_that_was_still_being_made(sinks: Sinks) -> None:
    """Its listener knows a connection once the handshake is over, and closes those that it knows."""
    token = (sinks.tokens / "edge-audit").read_text()
    request = f"GET /v1/chains HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{sinks.urls[0]}/v1/chains", ssl=False) as answer,
    ):
        assert answer.status == 200, "from here on the sink knows the token"
    reader, writer = await asyncio.open_connection("127.0.0.1", sinks.ports[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    received, unsent = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(received, unsent)

    async def first_that_comes(step: Callable[[], bytes | None]) -> bytes | None:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                writer.write(unsent.read())
                more = await reader.read(65536)
                if not more:
                    return b""
                received.write(more)

    async with asyncio.timeout(PATIENCE_S):
        await first_that_comes(connection.do_handshake)  # whose last word is not sent yet
        await sinks.stop(0)
        connection.write(request.encode())
        answered = await first_that_comes(lambda: connection.read(65536))
    writer.close()
    assert answered is not None
    assert answered.startswith(b"HTTP/1.1 503 "), answered
    assert b"\r\nConnection: close\r\n" in answered, "its writer must not come back over it"


async def test_a_killed_gateways_chain_is_closed_by_another(
    gateway_cluster: LightCluster, sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.audit.trail.LOOK_FOR_ORPHANS_S", 0.5)
    for process in sinks.running.values():
        process.silent_after(1.0)
    settings = gateway_settings(sinks)
    async with RunningGateway(gateway_cluster.connection, settings) as dying:
        token, name = await dying.token(), fresh_name()
        assert (await change(dying, "POST", MAPS, token, configmap(name))).status == 201
        shipper = dying.server.auditor.trail.writer  # type: ignore[union-attr]
        for task in shipper._tasks:  # type: ignore[attr-defined] - as kill -9 would
            task.cancel()
        chain = shipper.chain  # type: ignore[attr-defined]
        async with RunningGateway(gateway_cluster.connection, settings) as other:
            await other.token()
            await until(lambda: sinks.received(0).state(chain).closed)
            report = (await other.get(f"{AUDIT}/verification", token=token)).json()
            assert report["whole"]
        shipper._tasks = []  # type: ignore[attr-defined]
        shipper._ending = True  # type: ignore[attr-defined]


async def status_of(method: str, url: str, token: str, signature: str = "", body: bytes = b"") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    headers |= {HEADER: signature} if signature else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(url), headers=headers, data=body or None, ssl=False) as answer,
    ):
        return answer.status


async def test_only_the_platforms_own_accounts_speak_with_a_sink(sinks: Sinks, kube: Client) -> None:
    url = f"{sinks.urls[0]}/v1/chains"
    stranger = await account_token(kube, "default")
    elsewhere = await account_token(kube, "edge-apiserver", audience="https://kubernetes.default.svc")
    peer = (sinks.tokens / "edge-audit").read_text()
    for token, status in ((stranger, 403), (elsewhere, 401), ("", 401), ("nonsense", 401), (peer, 200)):
        assert await status_of("GET", url, token) == status
    assert await status_of("DELETE", url, peer) == 405


ASKED_BY_GATEWAYS = (
    ("GET", "/chains/c", b""),
    ("POST", "/chains/c/records", b"x\n"),
    ("POST", "/chains/c/statements?first=0", b"x\n"),
    ("GET", "/chains/c/open", b""),
    ("POST", "/left?by=c", b""),
    ("GET", "/aged", b""),
    ("GET", "/search?user=admin", b""),
    ("POST", "/verification", b""),
    ("GET", "/verification", b""),
)


@pytest.mark.parametrize(("method", "path", "body"), ASKED_BY_GATEWAYS)
async def test_a_sink_tells_a_gateway_from_who_holds_a_token_of_one(
    sinks: Sinks, kube: Client, method: str, path: str, body: bytes
) -> None:
    """A token is known to each sink that it was sent to: alone, or with what was signed for that sink, it is
    of no use at another one. Sinks read what they missed, and nothing else."""
    await publish_keys(kube, NAMESPACE, KEY.public_key())
    tokens = {name: (sinks.tokens / name).read_text() for name in ("edge-apiserver", "edge-audit")}
    url, other = (URL(f"{sinks.urls[number]}/v1{path}") for number in (0, 1))
    mine = tokens["edge-apiserver"]
    signed = sign(KEY, method, url, body)
    assert await status_of(method, str(url), tokens["edge-audit"], signed, body) == 403
    for wrong in (
        "",
        "nonsense",
        sign(Ed25519PrivateKey.generate(), method, url, body),
        sign(KEY, method, other, body),
        sign(KEY, method, url, body + b"more"),
        sign(KEY, method, url.update_query(more="1"), body),
        sign(KEY, "GET" if method == "POST" else "POST", url, body),
    ):
        assert await status_of(method, str(url), mine, wrong, body) == 401
    replayed = {"Host": f"{other.host}:{other.port}", "Authorization": f"Bearer {mine}"}
    replayed[HEADER] = sign(KEY, method, other, body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=replayed, data=body or None, ssl=False) as answer,
    ):
        assert answer.status == 401, "whatever it says that it was sent to"
    async with asyncio.timeout(PATIENCE_S):  # a key counts a moment after it was published
        while (status := await status_of(method, str(url), mine, signed, body)) == 401:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    assert status in (200, 400, 409)


async def test_the_key_is_turned_and_certificates_are_made_anew_without_a_change_that_is_refused(
    gateway_cluster: LightCluster, sinks: Sinks, kube: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.apiserver.sinks.trust.LOOK_S", 0.2)
    settings = gateway_settings(sinks)
    async with RunningGateway(gateway_cluster.connection, settings) as before:
        token = await before.token()
        assert (await change(before, "POST", MAPS, token, configmap(fresh_name()))).status == 201
        await kube.delete(Secret, SECRET_NAME, NAMESPACE)
        async with RunningGateway(gateway_cluster.connection, settings) as after:
            assert len(await known_keys(kube, NAMESPACE)) >= 2
            for gateway in (before, after, before):
                answer = await change(gateway, "POST", MAPS, token, configmap(fresh_name()))
                assert answer.status == 201, answer.body
            old = sinks.running[0]._tls.ca
            await kube.delete(Secret, SINKS_SECRET, NAMESPACE)
            for process in sinks.running.values():
                await process._tls.load()  # as each does in its turn, within a minute
                assert process._tls.ca != old
            await sinks.stop(0)
            await sinks.start(0)
            await sinks.stop(2)  # the other two are needed now, one of them by a new connection
            for gateway in (before, after):
                answer = await change(gateway, "POST", MAPS, token, configmap(fresh_name()))
                assert answer.status == 201, answer.body
            await sinks.start(2)
            report = (await after.get(f"{AUDIT}/verification", token=await after.token())).json()
            assert (report["whole"], report["chains"]) == (True, 2), report


def _seqs(received: Received) -> list[int]:
    """Of the last record of each chain that has any."""
    return [state.seq for state in received.states().values() if state.seq]


async def test_what_the_last_verification_of_each_sink_found_is_told_also_of_one_that_is_away(
    gateway_cluster: LightCluster, sinks: Sinks
) -> None:
    async with RunningGateway(gateway_cluster.connection, gateway_settings(sinks)) as gateway:
        token = await gateway.token()
        # Two of them are enough for an answer; the third has the records of the sign-in a moment later.
        await until(lambda: all(_seqs(sinks.received(number)) for number in range(3)))
        assert (await gateway.get(f"{AUDIT}/verification", token=token)).json()["whole"]
        found = (await gateway.get(f"{AUDIT}/verifications", token=token)).json()["items"]
        assert [(one["broken"], one["trouble"], one["records"] > 0) for one in found] == [
            (None, "", True)
        ] * 3
        await sinks.stop(1)
        found = (await gateway.get(f"{AUDIT}/verifications", token=token)).json()["items"]
        assert [bool(one["trouble"]) for one in found] == [False, True, False]
        assert found[1]["records"] > 0, "what it said last"


def test_settings_of_a_sink_are_read_together(tmp_path: Path) -> None:
    read = read_sink_settings(
        file=None, environ={"POD_NAMESPACE": "edge"}, flags={"audit.folder": str(tmp_path)}
    )
    assert read[SinkSettings].namespace == "edge"
    assert read[AuditSettings].folder == str(tmp_path)
    assert read[LogSettings].level == "info"
