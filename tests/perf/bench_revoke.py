"""A right is taken away: how long three gateways, each its own process, go on allowing (I6; design §13).

    python tests/perf/bench_revoke.py [REVOCATIONS]

Each replica is asked again and again over one connection. The time runs from sending the deletion of the
binding to the API server until the last of the three has said no; the deletion itself is part of it.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.perf.bench_gateway import bearer, gateway
from tests.support.figures import at, figure
from tests.support.gateway import CLIENT, PASSWORD, USERS, make_user
from tests.support.projected import binding

from edge.apiserver.mirrors.kinds import SERVED
from edge.iam.types import IAMRole, IAMRoleBinding, IAMRoleSpec, PolicyRule
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL

REPLICAS = 3
ASKED = f"{USERS}/bob"
READS = PolicyRule(verbs=("get",), api_groups=("iam.theriseunion.io",), resources=("users",))


async def prepare(cluster: LightCluster) -> None:
    await cluster.install(*SERVED)
    cluster.kubectl("create", "namespace", "edge-system")
    labels = {IAM_SCOPE_LABEL: "platform", IAM_SCOPE_VALUE_LABEL: "global"}
    async with cluster.client() as client:
        await make_user(client, "bob")
        role = IAMRole(metadata=ObjectMeta(name="reader", labels=labels), spec=IAMRoleSpec(rules=(READS,)))
        await client.create(role, manager="bench")


class Replica:
    """denied_at: when it first said no since `watch` was called."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url + ASKED
        self._headers = bearer(token)

    async def until(self, status: int) -> float:
        """The moment at which the first answer with this status was there."""
        while True:
            async with self._session.get(self._url, headers=self._headers) as answer:
                await answer.read()
            if answer.status == status:
                return time.perf_counter()
            if answer.status not in (200, 403):
                raise RuntimeError(f"{self._url} answered {answer.status}")
            await asyncio.sleep(0.001)


async def sign_in(session: aiohttp.ClientSession, url: str) -> str:
    form = {"grant_type": "password", "username": "bob", "password": PASSWORD, **CLIENT}
    async with session.post(f"{url}/oauth/token", data=form) as answer:
        return (await answer.json())["access_token"]


async def revoke(cluster: LightCluster, urls: list[str], times: int) -> None:
    took_ms: list[float] = []
    each_ms: list[float] = []
    async with cluster.client() as client, aiohttp.ClientSession() as session:
        token = await sign_in(session, urls[0])
        replicas = [Replica(session, url, token) for url in urls]
        for number in range(times):
            bound = binding(f"bob-{number}", "reader", "platform", "global", "bob")
            await client.create(bound, manager="bench")
            await asyncio.gather(*(one.until(200) for one in replicas))
            start = time.perf_counter()
            denied = [asyncio.create_task(one.until(403)) for one in replicas]
            await client.delete(IAMRoleBinding, bound.metadata.name)
            answered = time.perf_counter()
            ends = await asyncio.gather(*denied)
            took_ms.append((max(ends) - start) * 1000)
            each_ms += [max(0.0, end - answered) * 1000 for end in ends]
    took_ms.sort()
    each_ms.sort()
    figure("revoked to denied by all of three, P50", at(took_ms, 0.5), "ms")
    figure("revoked to denied by all of three, P99", at(took_ms, 0.99), "ms", "< 250")
    figure("revoked to denied by all of three, worst", took_ms[-1], "ms")
    figure("deletion answered to denied, one replica, P99", at(each_ms, 0.99), "ms")


def main() -> None:
    times = int(sys.argv[1]) if sys.argv[1:] else 300
    with LightCluster() as cluster, tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        asyncio.run(prepare(cluster))
        urls: list[str] = []
        for number in range(REPLICAS):
            own = Path(folder, str(number))
            own.mkdir()
            urls.append(running.enter_context(gateway(cluster, own, "--rateLimit.enabled=false")))
        asyncio.run(revoke(cluster, urls, times))


if __name__ == "__main__":
    main()
