"""What may be asked of /oauth from one address, before anybody is known (G4; design §8.5)."""

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.gateway import IAM, Answer, RunningGateway

from edge_kube.harness import LightCluster

LIMITS = {"rateLimit.anonymousQPS": "1", "rateLimit.anonymousBurst": "5", "rateLimit.maxDelay": "0s"}
PLACES = (
    ("GET", "/oauth/jwks"),
    ("POST", "/oauth/token"),
    ("GET", "/oauth/authorize"),
    ("POST", "/kapis/oauth/token"),
    ("POST", "/oauth/introspect"),
)


@pytest_asyncio.fixture
async def narrow(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(gateway_cluster.connection, LIMITS) as running:
        yield running


async def flood(gateway: RunningGateway, address: str = "", count: int = 40) -> list[Answer]:
    headers = {"X-Forwarded-For": address} if address else {}
    return [
        await gateway.ask(*PLACES[n % len(PLACES)], headers=headers, data={"a": "b"}) for n in range(count)
    ]


async def test_who_floods_the_sign_in_is_refused_with_a_time_and_nobody_signed_in_is_held_up(
    narrow: RunningGateway,
) -> None:
    token = await narrow.token()
    refused = [one for one in await flood(narrow) if one.status == 429]
    assert len(refused) >= 20
    said = refused[-1]
    assert said.json()["edge"]["code"] == "TooManyRequests"
    assert int(said.headers["Retry-After"]) >= 1
    assert "from one address" in said.json()["message"]
    for path in (f"{IAM}/me", "/healthz", "/readyz", "/oapis/version"):
        assert (await narrow.get(path, token=token)).status == 200


async def test_what_a_client_says_about_its_address_counts_only_from_a_proxy_that_is_trusted(
    narrow: RunningGateway, gateway_cluster: LightCluster
) -> None:
    made_up = [
        await narrow.get("/oauth/jwks", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(40)
    ]
    assert 429 in {one.status for one in made_up}, "an address of the client's own making is none"
    trusting = {**LIMITS, "server.trustedProxies": "127.0.0.0/8"}
    async with RunningGateway(gateway_cluster.connection, trusting) as behind:
        assert 429 in {one.status for one in await flood(behind, "192.0.2.1")}
        for other in ("192.0.2.2", "192.0.2.1, 192.0.2.3"):
            assert (await behind.get("/oauth/jwks", headers={"X-Forwarded-For": other})).status == 200
        forged = "198.51.100.7, 192.0.2.1"  # what stands before the proxy's own word is the client's
        assert 429 in {one.status for one in await flood(behind, forged)}
