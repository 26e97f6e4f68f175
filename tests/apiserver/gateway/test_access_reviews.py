"""A real API server asks the gateway whom to let through (I10; design §7.1, §5)."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from tests.apiserver.gateway.conftest import people
from tests.support.gateway import PATIENCE_S, RunningGateway, furnish, make_user
from tests.support.workspaces import Tenant, known

from edge.apiserver.reviews.wire import PATH
from edge.iam.heartbeat import HEARTBEAT
from edge.iam.types import IAMRole, User
from edge_kube.client import Client
from edge_kube.config import load_kubeconfig
from edge_kube.errors import Forbidden
from edge_kube.harness import LightCluster
from edge_kube.harness.pki import TestAuthority
from edge_kube.harness.processes import free_port
from edge_kube.meta import Key, Manifest, ObjectMeta

GATEWAY = "gateway"
"""As whom the gateway calls: cluster-admin by RBAC, so that the webhook is asked about its own calls too."""


class Reviewed:
    """An API server that asks for reviews at a port, and who calls it."""

    def __init__(self, cluster: LightCluster, port: int) -> None:
        self.cluster = cluster
        self.port = port
        self.url = f"https://127.0.0.1:{port}{PATH}"

    def settings(self, folder: Path, authority: TestAuthority | None = None) -> dict[str, str]:
        """Of a gateway that answers; its files are put into the folder."""
        pair = (authority or self.cluster.authority).issue("edge-apiserver", sans=("127.0.0.1",))
        for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key)):
            (folder / name).write_bytes(content)
        (folder / "ca.crt").write_bytes(self.cluster.authority.cert)
        webhook = "authorization.webhook"
        return {
            f"{webhook}.enabled": "true",
            f"{webhook}.bindAddress": f"127.0.0.1:{self.port}",
            f"{webhook}.certFile": str(folder / "tls.crt"),
            f"{webhook}.keyFile": str(folder / "tls.key"),
            f"{webhook}.clientCAFile": str(folder / "ca.crt"),
        }

    def client(self, user: str, *groups: str) -> Client:
        """A caller with a certificate of its own."""
        return Client(load_kubeconfig(self.cluster.kubeconfig_for(user, groups)))


@pytest.fixture(scope="module")
def reviewed() -> Iterator[Reviewed]:
    port = free_port()
    with LightCluster(reviews_at=f"https://127.0.0.1:{port}{PATH}") as cluster:
        cluster.kubectl("create", "namespace", "edge-system")
        cluster.kubectl(
            "create", "clusterrolebinding", "gw", "--clusterrole=cluster-admin", f"--user={GATEWAY}"
        )
        asyncio.run(furnish(cluster))
        asyncio.run(people(cluster))
        yield Reviewed(cluster, port)


@pytest_asyncio.fixture
async def kube(reviewed: Reviewed) -> AsyncIterator[Client]:
    async with reviewed.cluster.client() as client:
        yield client


@pytest_asyncio.fixture
async def gateway(reviewed: Reviewed, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    connection = load_kubeconfig(reviewed.cluster.kubeconfig_for(GATEWAY))
    async with RunningGateway(connection, reviewed.settings(tmp_path)) as running:
        yield running


@pytest_asyncio.fixture
async def tenant(gateway: RunningGateway, kube: Client) -> Tenant:
    made = Tenant(kube)
    await made.make()
    await known(gateway, made)
    return made


async def pods(client: Client, namespace: str, **headers: str) -> tuple[int, str]:
    """Status and message of a plain list of pods."""
    response = await client.raw("GET", f"/api/v1/namespaces/{namespace}/pods", headers=headers)
    async with response:
        return response.status, (await response.read()).decode()


def _configmap(namespace: str) -> Manifest:
    meta = {"generateName": "mine-", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


async def until_pods(client: Client, namespace: str, status: int, *, as_user: str = "") -> str:
    """What is said then."""
    headers = {"Impersonate-User": as_user} if as_user else {}
    async with asyncio.timeout(PATIENCE_S):
        while (found := await pods(client, namespace, **headers))[0] != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return found[1]


async def test_a_binding_alone_lets_its_user_in_natively_and_nobody_else(
    reviewed: Reviewed, tenant: Tenant, kube: Client
) -> None:
    """No RBAC object is there for either of them."""
    press = tenant.namespaces[0]
    await make_user(kube, f"{tenant.user}-next-door")
    async with reviewed.client(tenant.user) as member, reviewed.client(f"{tenant.user}-next-door") as other:
        await until_pods(member, press, 200)
        said = await until_pods(other, press, 403)
        assert f"no IAMRoleBinding allows it at namespace/{press} or above" in said
        await until_pods(member, "default", 403)
        await member.create(_configmap(press), manager="test")
        with pytest.raises(Forbidden):
            await other.create(_configmap(press), manager="test")


async def test_whom_the_api_server_impersonates_has_their_own_rights(tenant: Tenant, kube: Client) -> None:
    await until_pods(kube, tenant.namespaces[1], 200, as_user=tenant.user)
    await until_pods(kube, tenant.namespaces[1], 403, as_user="somebody")


async def test_a_right_that_is_taken_is_gone_natively_within_the_cache_of_the_api_server(
    reviewed: Reviewed, tenant: Tenant
) -> None:
    press = tenant.namespaces[0]
    async with reviewed.client(tenant.user) as member:
        await until_pods(member, press, 200)
        await tenant.unbind()
        await until_pods(member, press, 403)
        await tenant.bind()
        await until_pods(member, press, 200)


async def test_a_disabled_user_has_nothing_though_the_certificate_is_good(
    reviewed: Reviewed, tenant: Tenant, kube: Client
) -> None:
    async with reviewed.client(tenant.user) as member:
        await until_pods(member, tenant.namespaces[0], 200)
        await kube.merge(User, Key("", tenant.user), {"status": {"state": "Disabled"}}, sub="status")
        await until_pods(member, tenant.namespaces[0], 403)


async def test_a_stale_picture_gives_no_opinion_at_once_and_rbac_still_counts(
    reviewed: Reviewed, tenant: Tenant, kube: Client
) -> None:
    """Without its heartbeat nothing proves that the picture is new: no allow, no denial, and no waiting.

    Whom nobody else allows is told of a failure (500): a denial (403) would send them for rights they have.
    """
    press = tenant.namespaces[0]
    native = f"{tenant.user}-native"
    reviewed.cluster.kubectl(
        *("create", "rolebinding", native, "-n", press, "--clusterrole=system:aggregate-to-view"),
        f"--user={native}",
    )
    async with reviewed.client(tenant.user) as member, reviewed.client(native) as by_rbac:
        await until_pods(member, press, 200)
        await until_pods(by_rbac, press, 200)
        role = await kube.get(IAMRole, HEARTBEAT)
        await kube.delete(IAMRole, HEARTBEAT)
        try:
            await until_pods(member, press, 500)
            took_s: list[float] = []
            while not took_s or (min(took_s) > 1.5 and len(took_s) < 20):
                await asyncio.sleep(0.6)  # the API server's own cache
                started = time.monotonic()
                assert (await pods(by_rbac, press))[0] == 200
                took_s.append(time.monotonic() - started)
            assert min(took_s) < 1.5, "an API server asks again for seconds after a 500"
        finally:
            meta = ObjectMeta(name=HEARTBEAT, labels=role.metadata.labels)
            await kube.create(IAMRole(metadata=meta), manager="test")
        await until_pods(member, press, 200)


async def test_a_gateway_that_is_not_there_leaves_rbac_in_charge(reviewed: Reviewed) -> None:
    """As API servers have it, a "no" that was not asked of all is a failure of theirs, not a denial."""
    async with reviewed.client(GATEWAY) as admin, reviewed.client("nobody") as nobody:
        await until_pods(admin, "default", 200)
        await until_pods(nobody, "default", 500)


async def test_kubectl_can_ask_and_is_told_the_binding(
    reviewed: Reviewed, tenant: Tenant, kube: Client
) -> None:
    press = tenant.namespaces[0]
    await until_pods(kube, press, 200, as_user=tenant.user)
    ask = ("auth", "can-i", "list", "pods", "-n", press, f"--as={tenant.user}")
    async with asyncio.timeout(PATIENCE_S):
        said = ""
        while said.strip() != "yes":  # a review that takes longer than a second counts for nothing there
            said = await asyncio.to_thread(reviewed.cluster.kubectl, *ask, check=False)
    about = {"namespace": press, "verb": "list", "resource": "pods"}
    review = _review(tenant.user, resourceAttributes=about)
    path, status = "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"allowed": False}
    async with asyncio.timeout(PATIENCE_S):
        while not status["allowed"]:
            async with await kube.raw("POST", path, data=msgspec.json.encode(review)) as response:
                status = (await response.json())["status"]
    why = f'IAMRoleBinding "{tenant.binding}" gives IAMRole "workspace-admin" at workspace/{tenant.workspace}'
    assert (status["allowed"], status["reason"]) == (True, why)


async def test_decisions_are_counted(reviewed: Reviewed, gateway: RunningGateway, tenant: Tenant) -> None:
    async with reviewed.client(tenant.user) as member:
        await until_pods(member, tenant.namespaces[0], 200)
        await pods(member, "default")
    page = (await gateway.get("/metrics")).body.decode()
    for line in (
        'edge_authz_state{state="fresh"} ',
        'edge_authz_checks_total{result="allowed"} ',
        "edge_authz_check_seconds_count ",
        'edge_authz_index_age_seconds{kind="iamrolebindings"} ',
        "edge_authz_identities ",
        'edge_authz_drop_total{event="some"} ',
        "edge_authz_relist_drift_total 0.0",
    ):
        assert line in page, line


# -- the port itself -----------------------------------------------------------------------------------------


def _tls(reviewed: Reviewed, tmp_path: Path, authority: TestAuthority | None = None) -> ssl.SSLContext:
    """Of a caller with a certificate of the cluster's CA, or of another."""
    pair = (authority or reviewed.cluster.authority).issue("caller")
    (tmp_path / "caller.pem").write_bytes(pair.cert + pair.key)
    context = ssl.create_default_context(cadata=reviewed.cluster.authority.cert.decode())
    context.load_cert_chain(tmp_path / "caller.pem")
    return context


def _review(user: str, **attributes: Any) -> Mapping[str, Any]:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], **attributes},
    }


async def test_nobody_without_a_certificate_of_the_ca_gets_a_word_in(
    reviewed: Reviewed, gateway: RunningGateway, tmp_path: Path
) -> None:
    stranger = _tls(reviewed, tmp_path, TestAuthority("test-ca"))
    without = ssl.create_default_context(cadata=reviewed.cluster.authority.cert.decode())
    for context in (stranger, without):
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await gateway.session.post(reviewed.url, json=_review("ann"), ssl=context)


async def test_nothing_is_open_after_the_listener_has_stopped_whatever_it_was_waiting_for(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    """One that has said nothing yet, one in the middle of TLS, one that is idle, and one that was refused."""
    address = ("127.0.0.1", reviewed.port)
    without = ssl.create_default_context(cadata=reviewed.cluster.authority.cert.decode())
    async with RunningGateway(reviewed.cluster.connection, reviewed.settings(tmp_path)):
        silent = await asyncio.open_connection(*address)
        halfway = await asyncio.open_connection(*address)
        halfway[1].write(b"\x16\x03\x01\x02\x00")  # the head of a ClientHello
        idle = await asyncio.open_connection(*address, ssl=_tls(reviewed, tmp_path))
        refused = await asyncio.open_connection(*address, ssl=without)
    for reader, writer in (silent, halfway, idle, refused):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.transport.abort()


async def test_only_the_named_clients_may_ask_where_names_are_given(
    reviewed: Reviewed, tmp_path: Path
) -> None:
    settings = reviewed.settings(tmp_path) | {"authorization.webhook.clientNames": "kube-apiserver-reviews"}
    async with RunningGateway(reviewed.cluster.connection, settings) as gateway:
        with pytest.raises(aiohttp.ClientError):
            await gateway.session.post(reviewed.url, json=_review("x"), ssl=_tls(reviewed, tmp_path))


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"method": "GET"}, 405),
        ({"url": "/authz/v1/other"}, 404),
        ({"data": b"{"}, 400),
        ({"data": b"{}"}, 400),
        ({"data": msgspec.json.encode({**_review("x"), "kind": "TokenReview"})}, 400),
        ({"data": msgspec.json.encode(_review("x"))}, 400),
        ({"data": b"x" * 300_000}, 413),
        ({"headers": {"X-Long": "x" * 20_000}}, 431),
        ({"headers": {"Transfer-Encoding": "chunked"}}, 411),
    ],
)
async def test_what_is_no_review_is_refused_with_the_reason(
    reviewed: Reviewed, gateway: RunningGateway, tmp_path: Path, change: dict[str, Any], status: int
) -> None:
    asked: dict[str, Any] = {"method": "POST", "url": PATH, "data": b"{}", **change}
    asked["url"] = f"https://127.0.0.1:{reviewed.port}{asked['url']}"
    async with gateway.session.request(ssl=_tls(reviewed, tmp_path), **asked) as response:
        assert response.status == status
        assert len(await response.text()) > 20


async def test_requests_of_one_connection_are_answered_in_their_order(
    reviewed: Reviewed, tenant: Tenant, kube: Client, tmp_path: Path
) -> None:
    """Cut into pieces at any byte, and two at once."""
    await until_pods(kube, tenant.namespaces[0], 200, as_user=tenant.user)
    attributes = {"namespace": tenant.namespaces[0], "verb": "list", "resource": "pods"}
    both = b""
    for user in (tenant.user, "nobody"):
        body = msgspec.json.encode(_review(user, resourceAttributes=attributes))
        head = f"POST {PATH}?timeout=1s HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        both += head.encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", reviewed.port, ssl=_tls(reviewed, tmp_path))
    for cut in (0, 1, 30, 120, len(both) // 2, len(both) - 1):
        writer.write(both[:cut])
        await writer.drain()
        await asyncio.sleep(0.005)
        writer.write(both[cut:])
        answers = [await _answer(reader) for _ in range(2)]
        assert [one["status"]["allowed"] for one in answers] == [True, False]
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> Any:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 200 OK"), head
    length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
    return msgspec.json.decode(await reader.readexactly(length))


async def test_new_certificates_are_taken_up_and_the_port_never_closes(
    reviewed: Reviewed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.apiserver.reviews.listener.REFRESH_S", 0.05)
    settings = reviewed.settings(tmp_path)
    async with RunningGateway(reviewed.cluster.connection, settings):
        context = _tls(reviewed, tmp_path)
        first = await _serial(reviewed, context)
        reviewed.settings(tmp_path)
        async with asyncio.timeout(PATIENCE_S):
            while await _serial(reviewed, context) == first:  # noqa: ASYNC110 - files are told of by nobody
                await asyncio.sleep(0.01)


async def _serial(reviewed: Reviewed, context: ssl.SSLContext) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", reviewed.port, ssl=context)
    try:
        return writer.get_extra_info("peercert")["serialNumber"]
    finally:
        writer.close()
