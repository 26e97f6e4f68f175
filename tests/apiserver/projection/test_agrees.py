"""What a real kube-apiserver says of the projected RBAC against what our engine says (I3).

Random roles, bindings and users are made, projected, and asked about. Native RBAC may say no where it cannot
say yes, each time with a reason that is listed; it must never say yes where we say no.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from tests.support.members import clear_nodes
from tests.support.projected import Projected
from tests.support.rights import Question, World, ours, review, why_native_may_refuse

from edge.iam.types import IAMRoleBinding
from edge_kube.client import Client
from edge_kube.harness import Kube
from edge_kube.transport import Call

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
AT_ONCE = 32
SETTLES_S = 60.0


@pytest_asyncio.fixture
async def nodes_cleared(kube: Kube) -> AsyncIterator[None]:
    yield
    await clear_nodes(kube)


async def theirs(client: Client, question: Question) -> bool:
    answer = await client.transport.request(Call("POST", REVIEWS, body=review(question), limited=False))
    return bool(msgspec.json.decode(answer.body)["status"].get("allowed", False))


async def compared(projected: Projected, question: Question, reasons: Counter[str]) -> bool:
    """Asks again while the two differ without a reason: the API server hears of changes by watches too."""
    client, index = projected.kube.client, projected.rights
    async with asyncio.timeout(SETTLES_S):
        while True:
            we, they = ours(index, question), await theirs(client, question)
            if we == they:
                return we
            if we and (reason := why_native_may_refuse(index, question)):
                reasons[reason] += 1
                return we
            await asyncio.sleep(0.1)


async def compare(projected: Projected, seed: int, count: int) -> Counter[str]:
    rnd = random.Random(seed)
    world = World(rnd)
    for obj in world.objects:
        await projected.kube.create(obj)
    reasons: Counter[str] = Counter()
    allowed = 0
    for round_ in range(4):
        for _ in range(0, count // 4, AT_ONCE):
            asked = [world.question(rnd) for _ in range(AT_ONCE)]
            try:
                allowed += sum(await asyncio.gather(*(compared(projected, one, reasons) for one in asked)))
            except TimeoutError:
                wrong = [
                    one
                    for one in asked
                    if ours(projected.rights, one) != await theirs(projected.kube.client, one)
                ]
                raise AssertionError(f"the engine and native RBAC differ about {wrong}") from None
        await _change(projected.kube, world, rnd, round_)
    assert count // 50 < allowed < count * 19 // 20, "the questions must tell yes from no"
    return reasons


async def _change(kube: Kube, world: World, rnd: random.Random, round_: int) -> None:
    """Some bindings go, others come."""
    for one in rnd.sample(await kube.list(IAMRoleBinding), 5):
        if one.metadata.name.startswith("rights-"):
            await kube.delete(IAMRoleBinding, one.metadata.name)
    for n in range(5):
        await kube.create(world.binding(rnd, f"rights-again-{round_}-{n}"))


@pytest.mark.usefixtures("nodes_cleared")
async def test_I3_the_engine_and_projected_rbac_give_the_same_answers(projected: Projected) -> None:
    await compare(projected, seed=1, count=6_400)


@pytest.mark.soak
@pytest.mark.usefixtures("nodes_cleared")
@pytest.mark.parametrize("seed", range(20, 30))
async def test_I3_a_hundred_thousand_answers_agree_with_projected_rbac(
    projected: Projected, seed: int
) -> None:
    reasons = await compare(projected, seed=seed, count=10_240)
    print(f"seed {seed}: native RBAC refused with reason {dict(reasons.most_common())}")
