"""The last administrator is slowed, never locked out (I14; design §9 "lock-out").

On an API server of its own: who is the last one depends on all the administrators there are.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.gateway import RunningGateway, cluster_behind, make_user

from edge.iam.accounts import DISABLED
from edge.iam.lockout import LAST_ADMIN_EVERY_S
from edge.iam.types import IAMRoleBinding, LoginRecord, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key

SECOND = "second-admin"


@pytest.fixture(scope="module")
def alone() -> Iterator[LightCluster]:
    with cluster_behind() as cluster:
        yield cluster


@pytest_asyncio.fixture
async def kube(alone: LightCluster) -> AsyncIterator[Client]:
    """Each test begins with one administrator, and with no attempt that counts."""
    async with alone.client() as client:
        yield client
        for record in await client.list(LoginRecord):
            await client.delete(LoginRecord, record.metadata.name)
        if await client.find(User, SECOND) is not None:
            await client.delete(IAMRoleBinding, f"{SECOND}-platform-admin")
            await client.delete(User, SECOND)


@pytest_asyncio.fixture
async def gateway(alone: LightCluster, kube: Client) -> AsyncIterator[RunningGateway]:
    async with RunningGateway(alone.connection) as running:
        yield running


async def guess(gateway: RunningGateway, name: str) -> int:
    """Wrong passwords until the sign-in has to wait; for how many seconds."""
    for number in range(6):
        answer = await gateway.sign_in(name, f"guess-{number}")
        if answer.status == 429:
            return int(answer.headers["Retry-After"])
        assert answer.status == 401
    raise AssertionError("six wrong passwords, and no wait")


async def test_the_only_administrator_waits_half_a_minute_after_each_wrong_password(
    gateway: RunningGateway,
) -> None:
    assert 0 < await guess(gateway, "admin") <= LAST_ADMIN_EVERY_S
    assert (await gateway.sign_in()).status == 429, "the right one has to wait as well"
    gateway.clock.ahead_s = LAST_ADMIN_EVERY_S + 1
    assert (await gateway.sign_in("admin", "one more guess")).status == 401, "one try is let in"
    slowed = await gateway.sign_in()
    assert (slowed.status, int(slowed.headers["Retry-After"]) <= LAST_ADMIN_EVERY_S) == (429, True)
    gateway.clock.ahead_s = 2 * (LAST_ADMIN_EVERY_S + 1)
    assert (await gateway.sign_in()).status == 200


async def test_of_two_administrators_the_first_is_locked_out_and_the_last_one_slowed(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, SECOND, admin=True)
    await gateway.knows(SECOND, admin=True)
    assert await guess(gateway, "admin") > 600
    assert 0 < await guess(gateway, SECOND) <= LAST_ADMIN_EVERY_S
    gateway.clock.ahead_s = LAST_ADMIN_EVERY_S + 1
    assert (await gateway.sign_in(SECOND)).status == 200
    # Now that the second can sign in, the first is not the last one any more.
    assert int((await gateway.sign_in("admin")).headers["Retry-After"]) > 600


async def test_an_administrator_who_is_disabled_is_no_other_one(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, SECOND, admin=True)
    await gateway.knows(SECOND, admin=True)
    await kube.merge(User, Key("", SECOND), {"status": {"state": DISABLED}}, sub="status")
    await gateway.knows(SECOND, state=DISABLED)
    assert 0 < await guess(gateway, "admin") <= LAST_ADMIN_EVERY_S


async def test_somebody_else_is_locked_out_all_the_same(gateway: RunningGateway, kube: Client) -> None:
    await make_user(kube, "plain")
    await gateway.knows("plain")
    assert await guess(gateway, "plain") > 600
