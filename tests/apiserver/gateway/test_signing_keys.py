"""Signing keys: one ring for all replicas, turned without a sign-out; a configured secret (I12, X30)."""

import asyncio
import base64

import jwt
import pytest
from structlog.testing import capture_logs
from tests.support.gateway import PATIENCE_S, RunningGateway
from tests.support.kubeconfigs import issue, token_of
from tests.support.sessions import refresh, replicas, status, tokens, watching

from edge.apiserver.callers.keys import SECRET_NAME
from edge_kube.client import Client
from edge_kube.core import Secret
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

DAY_S = 86_400


async def published(gateway: RunningGateway) -> list[str]:
    answer = await gateway.get("/oauth/jwks")
    assert (answer.status, "max-age" in answer.headers["Cache-Control"]) == (200, True)
    return [key["kid"] for key in answer.json()["keys"]]


def kid_of(token: str) -> str:
    return jwt.get_unverified_header(token)["kid"]


async def turn(gateways: list[RunningGateway], days: float) -> None:
    """All look at the same moment, as replicas do; then until all know the same keys."""
    for gateway in gateways:
        gateway.clock.ahead_s = days * DAY_S
    await asyncio.gather(*(gateway.server.keys.turn() for gateway in gateways))
    async with asyncio.timeout(PATIENCE_S):
        while len({tuple(await published(gateway)) for gateway in gateways}) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_keys_turn_on_all_replicas_and_sign_nobody_out(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    await kube.delete(Secret, SECRET_NAME, "edge-system")
    settings = {"authentication.jwt.expire": "30d", "kubeconfig.maxTTL": "30d"}
    async with replicas(gateway_cluster.connection, 2, settings) as gateways:
        one, other = gateways
        first = await tokens(one)
        kubeconfig = token_of(await issue(one, first["access_token"], ttl="30d"))
        assert await published(one) == await published(other) == [kid_of(first["access_token"])]

        await turn(gateways, 28.5)
        assert len(await published(one)) == 1
        await turn(gateways, 29.1)
        assert await published(one) == await published(other)
        assert len(await published(one)) == 2, "the next one, a day before it signs"
        assert kid_of((await tokens(other))["access_token"]) == kid_of(first["access_token"])

        gateways[0].clock.ahead_s = gateways[1].clock.ahead_s = 29.9 * DAY_S
        for gateway in gateways:
            assert await status(gateway, first["access_token"]) == 200
            assert (await gateway.get("/api", token=kubeconfig)).status == 200
        kept = (await refresh(other, first["refresh_token"])).json()

        await turn(gateways, 30.1)
        second = await tokens(one)
        assert kid_of(second["access_token"]) != kid_of(first["access_token"])
        for gateway in gateways:
            assert await status(gateway, second["access_token"]) == 200
            assert await status(gateway, kept["access_token"]) == 200, "signed by the key before"

        await turn(gateways, 59.5)
        assert len(await published(one)) == 3
        assert await status(other, kept["access_token"]) == 200
        await turn(gateways, 60.2)
        assert kid_of(first["access_token"]) not in await published(other), "no token of it can be left"
    await kube.delete(Secret, SECRET_NAME, "edge-system")


async def test_replicas_that_start_together_agree_on_one_ring(
    gateway_cluster: LightCluster, kube: Client
) -> None:
    await kube.delete(Secret, SECRET_NAME, "edge-system")
    gateways = [RunningGateway(gateway_cluster.connection) for _ in range(3)]
    started = await asyncio.gather(*(gateway.__aenter__() for gateway in gateways))
    try:
        assert len({tuple(await published(gateway)) for gateway in started}) == 1
        token = await started[0].token()
        for gateway in started:
            assert await status(gateway, token) == 200
    finally:
        await asyncio.gather(*(gateway.__aexit__() for gateway in gateways))


async def test_removing_the_keys_makes_new_ones_at_once_and_ends_all_access_tokens(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    before = await published(gateway)
    await kube.delete(Secret, SECRET_NAME, "edge-system")
    async with asyncio.timeout(PATIENCE_S):
        while await published(gateway) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await status(gateway, token) == 401
    assert await status(gateway, await gateway.token()) == 200


async def test_removing_the_keys_ends_open_watches_of_tokens_and_kubeconfigs_too(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    kubeconfig = token_of(await issue(gateway, token))
    async with watching([gateway], token) as of_session, watching([gateway], kubeconfig) as of_kubeconfig:
        await kube.delete(Secret, SECRET_NAME, "edge-system")
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*of_session, *of_kubeconfig)


async def test_removing_one_key_ends_what_it_signed(gateway: RunningGateway, kube: Client) -> None:
    gateway.clock.ahead_s = 29.5 * DAY_S
    await gateway.server.keys.turn()
    token = await gateway.token()
    assert await status(gateway, token) == 200
    await kube.merge(Secret, Key("edge-system", SECRET_NAME), {"data": {kid_of(token): None}})
    async with asyncio.timeout(PATIENCE_S):
        while await status(gateway, token) != 401:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await kube.delete(Secret, SECRET_NAME, "edge-system")


async def test_keys_that_cannot_be_read_are_reported_and_the_known_ones_stay(
    gateway: RunningGateway, kube: Client
) -> None:
    token = await gateway.token()
    with capture_logs() as logs:
        await kube.merge(Secret, Key("edge-system", SECRET_NAME), {"data": {"mark": "AAAA"}})
        async with asyncio.timeout(PATIENCE_S):
            while not any(one["event"] == "signing_keys_not_understood" for one in logs):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert await status(gateway, token) == 200
    await kube.delete(Secret, SECRET_NAME, "edge-system")


async def test_what_is_published_signs_nothing_that_the_gateway_takes(gateway: RunningGateway) -> None:
    """S12 through the whole gateway; the corpus itself is in tests/unit/iam/test_tokens.py."""
    token = await gateway.token()
    head, claims, signature = token.split(".")
    answer = await gateway.get("/oauth/jwks")
    (jwk,) = [one for one in answer.json()["keys"] if one["kid"] == kid_of(token)]
    content = jwt.decode(token, options={"verify_signature": False})
    header = {"typ": "at+jwt", "kid": jwk["kid"]}
    secrets = (base64.urlsafe_b64decode(jwk["x"] + "="), jwk["x"].encode())
    confused = [jwt.encode(content, secret, algorithm="HS256", headers=header) for secret in secrets]
    stripped = [f"{head}.{claims}.", f"{head}.{claims}", f"{head}.{claims}.{signature[:-6]}"]
    for forged in (*confused, *stripped):
        assert await status(gateway, forged) == 401
    assert await status(gateway, token) == 200


async def test_a_configured_secret_signs_with_hs256_and_publishes_nothing(
    gateway_cluster: LightCluster,
) -> None:
    secret = "a secret of our own, long enough for anybody"
    async with replicas(gateway_cluster.connection, 2, {"authentication.jwt.secret": secret}) as gateways:
        token = await gateways[0].token()
        assert jwt.decode(token, secret, ["HS256"], audience="edge-platform")["sub"] == "admin"
        for gateway in gateways:
            assert await status(gateway, token) == 200
            assert await published(gateway) == []
    async with RunningGateway(gateway_cluster.connection) as without:
        assert await status(without, token) == 401


@pytest.mark.parametrize("value", ["your-jwt-secret", "***", "changeme"])
async def test_a_published_secret_counts_as_none_and_is_reported(
    gateway_cluster: LightCluster, value: str
) -> None:
    with capture_logs() as logs:
        async with RunningGateway(
            gateway_cluster.connection, {"authentication.jwt.secret": value}
        ) as gateway:
            token = await gateway.token()
            assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
            claims = jwt.decode(token, options={"verify_signature": False})
            head = {"typ": "at+jwt", "kid": kid_of(token)}
            assert await status(gateway, jwt.encode(claims, value, algorithm="HS256", headers=head)) == 401
            page = (await gateway.get("/metrics")).body.decode()
    assert [one["problem"] for one in logs if one["event"] == "jwt_secret_weak"] == ["published"]
    assert 'edge_gateway_jwt_secret_weak{problem="published"} 1.0' in page
    assert value not in str(logs)


async def test_a_short_secret_is_stretched_and_reported(gateway_cluster: LightCluster) -> None:
    with capture_logs() as logs:
        async with RunningGateway(
            gateway_cluster.connection, {"authentication.jwt.secret": "short"}
        ) as gateway:
            token = await gateway.token()
            assert await status(gateway, token) == 200
            claims = jwt.decode(token, options={"verify_signature": False})
            head = {"typ": "at+jwt", "kid": kid_of(token)}
            assert await status(gateway, jwt.encode(claims, "short", algorithm="HS256", headers=head)) == 401
    assert [one["problem"] for one in logs if one["event"] == "jwt_secret_weak"] == ["short"]
