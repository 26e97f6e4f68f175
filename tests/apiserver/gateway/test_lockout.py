"""Lock-out over replicas, for names that somebody has and names that nobody has (I14)."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from tests.support.gateway import PASSWORD, PATIENCE_S, USERS, Answer, RunningGateway, make_user

from edge.iam.lockout import NAME_LABEL, UNLOCKED_ANNOTATION
from edge.iam.passwords import hash_password
from edge.iam.types import LoginRecord, User
from edge_kube.client import Client
from edge_kube.harness import LightCluster
from edge_kube.meta import Key


@pytest_asyncio.fixture
async def replica(gateway_cluster: LightCluster) -> AsyncIterator[RunningGateway]:
    """A second gateway."""
    async with RunningGateway(gateway_cluster.connection) as running:
        yield running


async def status_until(gateway: RunningGateway, name: str, password: str, status: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await gateway.sign_in(name, password)).status != status:  # noqa: ASYNC110 - the watch tells
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", ["locked-1", "nobody-has-this"])
async def test_five_wrong_passwords_lock_the_name_on_every_replica_whoever_has_it(
    gateway: RunningGateway, replica: RunningGateway, kube: Client, name: str
) -> None:
    if name == "locked-1":
        await make_user(kube, name)
        for one in (gateway, replica):
            await one.knows(name)
    answers = [await gateway.sign_in(name, f"guess-{n}") for n in range(6)]
    assert [one.status for one in answers] == [401] * 5 + [429]
    assert 600 < int(answers[-1].headers["Retry-After"]) <= 900
    assert (await gateway.sign_in(name, PASSWORD)).status == 429, "the right one is not tried either"
    assert (await gateway.sign_in(f" {name.upper()}", PASSWORD)).status == 429, "one spelling is as another"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            listed = [one for one in await kube.list(LoginRecord) if NAME_LABEL in one.metadata.labels]
            mark = replica.server.lockouts.mark(name)
            if sum(one.metadata.labels[NAME_LABEL] == mark for one in listed) == 5:
                break
            await asyncio.sleep(0.05)
    await status_until(replica, name, PASSWORD, 429)


async def test_failures_at_several_replicas_add_up(
    gateway: RunningGateway, replica: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "locked-2")
    for one in (gateway, replica):
        await one.knows("locked-2")
    for n in range(3):
        assert (await gateway.sign_in("locked-2", f"guess-{n}")).status == 401
        assert (await replica.sign_in("locked-2", f"other-{n}")).status in (401, 429)
    for one in (gateway, replica):
        await status_until(one, "locked-2", "more", 429)


async def test_guesses_at_once_are_not_more_than_guesses_in_turn(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "locked-3")
    await gateway.knows("locked-3")
    answers = await asyncio.gather(*(gateway.sign_in("locked-3", f"guess-{n}") for n in range(20)))
    assert sorted(one.status for one in answers) == [401] * 5 + [429] * 15


async def test_an_administrator_unlocks_with_an_annotation(gateway: RunningGateway, kube: Client) -> None:
    await make_user(kube, "locked-4")
    await gateway.knows("locked-4")
    for n in range(5):
        await gateway.sign_in("locked-4", f"guess-{n}")
    assert (await gateway.sign_in("locked-4")).status == 429
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    patch = {"metadata": {"annotations": {UNLOCKED_ANNOTATION: now}}}
    await kube.merge(User, Key("", "locked-4"), patch)
    await status_until(gateway, "locked-4", PASSWORD, 200)


async def test_the_lock_ends_and_a_success_forgives(gateway: RunningGateway, kube: Client) -> None:
    await make_user(kube, "locked-5")
    await gateway.knows("locked-5")
    for n in range(5):
        await gateway.sign_in("locked-5", f"guess-{n}")
    gateway.clock.ahead_s = 16 * 60
    assert (await gateway.sign_in("locked-5")).status == 200
    for n in range(4):
        assert (await gateway.sign_in("locked-5", f"guess-{n}")).status == 401
    assert (await gateway.sign_in("locked-5")).status == 200


async def test_spraying_locks_the_address(gateway_cluster: LightCluster) -> None:
    """Password spraying: one password, many names."""
    flags = {"authentication.lockout.perAddress": "8"}
    async with RunningGateway(gateway_cluster.connection, flags) as gateway:
        # What other tests did from this address counts as well.
        answers = [await gateway.sign_in(f"sprayed-{n}", "Summer2026!") for n in range(9)]
        assert answers[-1].status == 429
        assert (await gateway.sign_in("admin")).status == 429


async def test_time_does_not_tell_whether_a_user_exists(gateway: RunningGateway, kube: Client) -> None:
    """A loose check by the clock; that hashing is the same is counted in test_signin and test_ldap."""
    stored = hash_password(PASSWORD)
    for n in range(4):
        await make_user(kube, f"timed-{n}", password_hash=stored)
        await gateway.knows(f"timed-{n}")
    took_s: dict[str, list[float]] = {"timed": [], "absent": []}
    for n in range(12):
        for kind, found in took_s.items():
            begun_s = time.perf_counter()
            assert (await gateway.sign_in(f"{kind}-{n % 4}", "wrong")).status == 401
            found.append(time.perf_counter() - begun_s)
    known, unknown = (statistics.median(found) for found in took_s.values())
    assert 1 / 3 < known / unknown < 3


async def test_a_wrong_current_password_counts_as_a_wrong_one_at_the_sign_in(
    gateway: RunningGateway, replica: RunningGateway, kube: Client
) -> None:
    """A token that was found is no place to guess the password at, on any replica (I14)."""
    await make_user(kube, "locked-6")
    for one in (gateway, replica):
        await one.knows("locked-6")
    token = await gateway.token("locked-6")
    path = f"{USERS}/locked-6/password"

    async def guess(password: str) -> Answer:
        body = {"currentPassword": password, "newPassword": "quite another one"}
        return await gateway.ask("PUT", path, token=token, json=body)

    assert [(await guess(f"guess-{n}")).status for n in range(5)] == [401] * 5
    locked = await guess(PASSWORD)
    assert (locked.status, locked.json()["edge"]["code"]) == (429, "TooManySignIns")
    assert int(locked.headers["Retry-After"]) > 600
    assert (await gateway.sign_in("locked-6")).status == 429
    await status_until(replica, "locked-6", "another guess", 429)
    gateway.clock.ahead_s = 16 * 60
    assert (await guess(PASSWORD)).status == 200


async def test_wrong_passwords_at_the_sign_in_leave_none_to_try_at_the_change(
    gateway: RunningGateway, kube: Client
) -> None:
    await make_user(kube, "locked-7")
    await gateway.knows("locked-7")
    token = await gateway.token("locked-7")
    for n in range(5):
        await gateway.sign_in("locked-7", f"guess-{n}")
    body = {"currentPassword": "guess-5", "newPassword": "quite another one"}
    answer = await gateway.ask("PUT", f"{USERS}/locked-7/password", token=token, json=body)
    assert answer.status == 429
