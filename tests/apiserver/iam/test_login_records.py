"""Sign-in records go when their time is over, and the oldest of who has too many (I14)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from tests.support.gateway import MovedClock

from edge.iam import accounts
from edge.iam.accounts import RECORDS_KEPT_S, user_label
from edge.iam.reconcilers.loginrecord import LoginRecordReconciler
from edge.iam.room import room
from edge.iam.types import LoginRecord, LoginRecordSpec, User, UserSpec
from edge_kube.harness.kube import Kube
from edge_kube.meta import ObjectMeta
from edge_kube.runtime import Reader, Request, Result, Writer
from edge_sdk.room import Room

DAY_S = 86_400.0


class Noted(LoginRecordReconciler):
    """Notes what it has looked at."""

    def __init__(self, cache: Reader, client: Writer, *, clock: MovedClock, seen: set[str]) -> None:
        super().__init__(cache, client, clock=clock)
        self._seen = seen

    async def reconcile(self, request: Request) -> Result:
        result = await super().reconcile(request)
        self._seen.add(request.name)
        return result


def sweeping(ahead_s: float = 0.0, seen: set[str] | None = None) -> Room:
    """The room with nothing but its loop over records, at another time than now."""
    (loop,) = (one for one in room().loops if one.kind is LoginRecord)
    noted = partial(Noted, clock=MovedClock(ahead_s=ahead_s), seen=set() if seen is None else seen)
    indexes = tuple(one for one in room().indexes if one.kind is LoginRecord)
    return replace(room(), loops=(replace(loop, reconciler=noted),), indexes=indexes)


async def looked_at(seen: set[str], names: set[str]) -> None:
    async with asyncio.timeout(60):
        while not names <= seen:  # noqa: ASYNC110 - the loop runs by itself
            await asyncio.sleep(0.02)


async def make(kube: Kube, user: str, names: Sequence[str]) -> None:
    spec = LoginRecordSpec(
        type="Password", provider="local", source_ip="192.0.2.7", success=True, reason="SignedIn"
    )
    for name in names:
        meta = ObjectMeta(name=name, labels=user_label(user))
        await kube.create(LoginRecord(metadata=meta, spec=spec))


async def left(kube: Kube) -> list[str]:
    return sorted(one.metadata.name for one in await kube.list(LoginRecord))


async def test_records_stay_for_their_time_and_no_day_longer_also_after_a_restart(kube: Kube) -> None:
    await kube.install(LoginRecord)
    await make(kube, "ann", ("ann-1", "ann-2"))
    await make(kube, "", ("unknown-1",))
    for too_early_s in (0.0, RECORDS_KEPT_S - DAY_S):
        seen: set[str] = set()
        await kube.start(sweeping(too_early_s, seen))
        await looked_at(seen, {"ann-1", "ann-2", "unknown-1"})
        assert await left(kube) == ["ann-1", "ann-2", "unknown-1"]
        await kube.stop()
    await kube.start(sweeping(RECORDS_KEPT_S + DAY_S))
    await kube.gone(LoginRecord, "ann-1")
    await kube.gone(LoginRecord, "ann-2")
    await kube.gone(LoginRecord, "unknown-1")
    await kube.kill()
    await make(kube, "ann", ("ann-3",))
    seen = set()
    await kube.start(sweeping(seen=seen))
    await looked_at(seen, {"ann-3"})
    assert await left(kube) == ["ann-3"], "only what is old goes"


async def test_who_has_too_many_keeps_the_newest_and_costs_others_none(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "RECORDS_OF_A_USER", 3)
    monkeypatch.setattr(accounts, "RECORDS_OF_NOBODY", 4)
    await kube.install(LoginRecord)
    await make(kube, "ann", [f"ann-{number}" for number in range(5)])
    await make(kube, "bob", [f"bob-{number}" for number in range(3)])
    await make(kube, "", [f"unknown-{number}" for number in range(6)])
    seen: set[str] = set()
    await kube.start(sweeping(seen=seen))
    for name in ("ann-0", "ann-1", "unknown-0", "unknown-1"):
        await kube.gone(LoginRecord, name)
    kept = ["ann-2", "ann-3", "ann-4", "bob-0", "bob-1", "bob-2"]
    kept += [f"unknown-{number}" for number in range(2, 6)]
    await looked_at(seen, set(kept))
    assert await left(kube) == kept


async def test_the_user_of_a_record_is_left_alone(kube: Kube) -> None:
    await kube.install(LoginRecord, User)
    await kube.create(User(metadata=ObjectMeta(name="ann"), spec=UserSpec()))
    await make(kube, "ann", ("ann-1",))
    await kube.start(sweeping(RECORDS_KEPT_S + DAY_S))
    await kube.gone(LoginRecord, "ann-1")
    assert await kube.find(User, "ann") is not None
