"""Tokens whose records went while a watch is frozen: they change nothing, and get 503 (I3, I6, I12)."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from tests.support.gateway import IAM, RunningGateway, somebody
from tests.support.kubeconfigs import id_of, issue, token_of
from tests.support.oauth import drop_client, make_client
from tests.support.patience import PROOF_S

from edge.iam import beats, kubeconfigs, oauthclients, sessions
from edge.iam.freshness import STALE_S
from edge.iam.heartbeat import HEARTBEAT
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness.proxy import Canned, FaultProxy

MAPS = "/api/v1/namespaces/default/configmaps?dryRun=All"
NAMESPACES = "/api/v1/namespaces"
ALONE = 20


@pytest_asyncio.fixture
async def gateway(proxy: FaultProxy) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(proxy.connection) as running:
        yield running


def watch_of(secret_type: str) -> Callable[[web.BaseRequest], bool]:
    return lambda request: (
        "watch" in request.query and request.query.get("fieldSelector") == f"type={secret_type}"
    )


async def change(gateway: RunningGateway, token: str) -> tuple[int, str]:
    """Status and code of a request that changes something; nothing is changed by it."""
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c-{secrets.token_hex(3)}"}}
    answer = await gateway.ask("POST", MAPS, token=token, json=manifest)
    return answer.status, answer.json().get("edge", {}).get("code", "")


async def unproven(gateway: RunningGateway, token: str) -> tuple[int, str]:
    """The same where no proof can come; rights, whose watch goes on, may be late on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beats, "WITHIN_S", PROOF_S)
        async with asyncio.timeout(60):
            while (answer := await change(gateway, token)) == (503, "AuthorizationStale"):
                pass
    return answer


def beats_through(proxy: FaultProxy) -> list[str]:
    """What proofs are written to, from now on."""
    heard: list[str] = []

    def hear(request: web.BaseRequest) -> bool:
        if is_beat(request):
            heard.append(request.path)
        return False

    proxy.answer(Canned(500), to=hear)
    return heard


def is_beat(request: web.BaseRequest) -> bool:
    return request.method == "PATCH" and HEARTBEAT in request.path


async def until(gateway: RunningGateway, token: str, status: int) -> str:
    """The code that comes with this status; others are waited out."""
    async with asyncio.timeout(60):
        while (answer := await change(gateway, token))[0] != status:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.05)
    return answer[1]


async def session_of(gateway: RunningGateway, token: str) -> str:
    answer = await gateway.get(f"{IAM}/me/sessions", token=token)
    (mine,) = [one["id"] for one in answer.json()["items"] if one["current"]]
    return sessions.SECRET_PREFIX + mine


async def test_I12_a_session_that_was_ended_elsewhere_changes_nothing_while_its_watch_is_frozen(
    gateway: RunningGateway, proxy: FaultProxy, admin: Client
) -> None:
    """Nothing breaks, and all other watches go on: only a proof of its own tells it from a quiet one."""
    name = await somebody(gateway, admin, admin=True)
    token, other = await gateway.token(name), await gateway.token(name)
    file = token_of(await issue(gateway, other))
    await until(gateway, token, 201)
    proxy.stall(watch_of(sessions.SECRET_TYPE))
    await admin.delete(Secret, await session_of(gateway, token), "edge-system")
    await asyncio.sleep(STALE_S)  # the proof of the change before is too old by then
    assert await unproven(gateway, token) == (503, "SessionsNotKnown")
    assert await unproven(gateway, other) == (503, "SessionsNotKnown"), (
        "of a session that goes on that is not known either"
    )
    assert (await gateway.get(NAMESPACES, token=token)).status == 200, "reads are decided by what is known"
    assert (await change(gateway, file))[0] == 201, "a kubeconfig stands on no session"
    proxy.resume()
    assert await until(gateway, token, 401) == "TokenRevoked"
    await until(gateway, other, 201)


async def test_I3_a_kubeconfig_that_was_revoked_elsewhere_changes_nothing_while_its_watch_is_frozen(
    gateway: RunningGateway, proxy: FaultProxy, admin: Client
) -> None:
    name = await somebody(gateway, admin, admin=True)
    token = await gateway.token(name)
    document = await issue(gateway, token)
    file = token_of(document)
    await until(gateway, file, 201)
    proxy.stall(watch_of(kubeconfigs.SECRET_TYPE))
    await admin.delete(Secret, kubeconfigs.SECRET_PREFIX + id_of(document), "edge-system")
    await asyncio.sleep(STALE_S)
    assert await unproven(gateway, file) == (503, "KubeconfigsNotKnown")
    assert (await gateway.get(NAMESPACES, token=file)).status == 200
    await until(gateway, token, 201)
    proxy.resume()
    assert await until(gateway, file, 401) == "TokenRevoked"


async def test_I12_a_token_of_a_deleted_program_changes_nothing_while_the_watch_of_clients_is_frozen(
    gateway: RunningGateway, proxy: FaultProxy, admin: Client
) -> None:
    name, id_ = await somebody(gateway, admin, admin=True), f"robot-{secrets.token_hex(3)}"
    robot = oauthclients.OAuthClient(id=id_, grants=frozenset({oauthclients.CREDENTIALS}), user=name)
    form = {
        "grant_type": oauthclients.CREDENTIALS,
        "client_id": id_,
        "client_secret": await make_client(admin, gateway, robot),
    }
    answer = await gateway.ask("POST", "/oauth/token", data=form)
    token = answer.json()["access_token"]
    await until(gateway, token, 201)
    proxy.stall(watch_of(oauthclients.SECRET_TYPE))
    await drop_client(admin, id_)
    await asyncio.sleep(STALE_S)
    assert await unproven(gateway, token) == (503, "ClientsNotKnown")
    await until(gateway, await gateway.token(name), 201)
    proxy.resume()
    assert await until(gateway, token, 401) == "TokenRevoked"


async def test_I12_what_the_proofs_write_to_is_no_record_and_is_left_alone_at_rest(
    gateway: RunningGateway, proxy: FaultProxy, admin: Client
) -> None:
    name = await somebody(gateway, admin, admin=True)
    token = await gateway.token(name)
    file = token_of(await issue(gateway, token))
    for one in (token, file):
        await until(gateway, one, 201)
    written_to = {
        beat.metadata.name: beat
        for beat in await admin.list(Secret, "edge-system")
        if beat.metadata.name.startswith(HEARTBEAT)
    }
    assert {f"{HEARTBEAT}-sessions", f"{HEARTBEAT}-kubeconfigs"} <= written_to.keys()
    assert not any(beat.data for beat in written_to.values())
    for path in (f"{IAM}/me/sessions", f"{IAM}/me/kubeconfigs", f"{IAM}/oauthclients"):
        answer = await gateway.get(path, token=token)
        assert answer.status == 200, path
        assert HEARTBEAT not in answer.body.decode()
    live = gateway.server.sessions.live
    assert not any(HEARTBEAT in record.id for record in live.all())
    assert await gateway.server.sessions.keeper.sweep() == 0
    written = beats_through(proxy)
    for _ in range(20):
        assert (await gateway.get(NAMESPACES, token=token)).status == 200
    await asyncio.sleep(2 * STALE_S)
    assert written == [], "reads and rest cost nothing"


async def test_I12_all_who_wait_share_one_proof(
    gateway: RunningGateway, proxy: FaultProxy, admin: Client
) -> None:
    name = await somebody(gateway, admin, admin=True)
    token = await gateway.token(name)
    await until(gateway, token, 201)
    await asyncio.sleep(STALE_S)
    written = beats_through(proxy)
    proxy.stall(is_beat)
    changes = [asyncio.create_task(change(gateway, token)) for _ in range(ALONE)]
    await asyncio.sleep(2)  # until most of them wait
    proxy.resume()
    assert {status for status, _ in await asyncio.gather(*changes)} == {201}
    of_one = 5  # four for the rights, and one for the session
    assert of_one <= len(written) <= of_one * ALONE / 2
