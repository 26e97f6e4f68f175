"""The gateway's figures beside kube-apiserver's from the same run (G7, G10; design §13 B4, B5, B8).

Both list the same 100 users for the same load generator (`ab`, Debian package apache2-utils).
"""

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.gateway import CLIENT, PASSWORD, USERS, make_user

from edge.apiserver.mirrors.kinds import SERVED
from edge.iam.builtin import everything
from edge.iam.passwords import hash_password
from edge_kube.harness import LightCluster
from edge_kube.harness.processes import free_port

NATIVE = "/apis/iam.theriseunion.io/v1alpha1/users"
ADMIN = "--clusterrole=cluster-admin"
REQUESTS, CONNECTIONS = 10_000, 100
BCRYPT_COST = 10


@dataclass(frozen=True)
class Load:
    """What ab measured."""

    per_s: float
    mean_ms: float
    p99_ms: float
    failed: int


def main() -> int:
    if shutil.which("ab") is None:
        print("ab is missing: apt-get install apache2-utils", file=sys.stderr)
        return 1
    with LightCluster() as cluster, tempfile.TemporaryDirectory() as folder:
        asyncio.run(prepare(cluster))
        token = cluster.kubectl("create", "token", "bench", "-n", "edge-system").strip()
        peer = load(f"{cluster.server}{NATIVE}", token, keep_alive=True, requests=2000)
        with gateway(cluster, Path(folder), "--rateLimit.enabled=false") as url:
            lists_without_limits(url, peer)
            asyncio.run(overhead(url, cluster, token))
            asyncio.run(sign_ins(url))
            asyncio.run(fairness(url, "no limiter"))
        with gateway(cluster, Path(folder)) as url:
            documented_load_test(url)
            asyncio.run(fairness(url, "default limits"))
    return 0


def tell(bench: str, value: float, unit: str, target: str = "", peer: str = "") -> None:
    print(
        json.dumps({"bench": bench, "value": round(value, 3), "unit": unit, "target": target, "peer": peer})
    )


async def prepare(cluster: LightCluster) -> None:
    """100 users of documented size, two administrators, and an account for the direct questions."""
    await cluster.install(*SERVED)
    for command in (
        ("create", "namespace", "edge-system"),
        (
            "create",
            "clusterrolebinding",
            "admins",
            "--clusterrole=cluster-admin",
            "--group=edge:platform-admins",
        ),
        ("create", "serviceaccount", "bench", "-n", "edge-system"),
        (
            "create",
            "clusterrolebinding",
            "bench",
            "--clusterrole=cluster-admin",
            "--serviceaccount=edge-system:bench",
        ),
        ("create", "configmap", "bench", "-n", "edge-system", "--from-literal=colour=blue"),
    ):
        cluster.kubectl(*command)
    async with cluster.client() as client:
        for one in everything():
            await client.create(one, manager="bench")
        for name in ("admin", "greedy"):
            await make_user(client, name, admin=True, password_hash=hash_password(PASSWORD, cost=BCRYPT_COST))
        for number in range(98):
            await make_user(client, f"user-{number}", groups=("ops", "press"))


@contextmanager
def gateway(cluster: LightCluster, folder: Path, *flags: str) -> Generator[str]:
    """The real program in a process of its own; its base URL."""
    port = free_port()
    command = [sys.executable, "-m", "edge.apiserver.main", f"--server.kubeconfig={cluster.kubeconfig}"]
    command += [
        f"--server.bindAddress=127.0.0.1:{port}",
        "--server.onlyFirst=true",
        "--server.tls.enabled=false",
    ]
    command += ["--server.drain=0s", *flags]
    with (folder / "gateway.log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_ready(f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_ready(url: str, within_s: float = 60) -> None:
    ends = time.monotonic() + within_s
    while subprocess.run(["curl", "-sf", "-o", "/dev/null", url], check=False).returncode:
        if time.monotonic() > ends:
            raise TimeoutError(f"{url} did not answer 200 within {within_s:g} s")
        time.sleep(0.2)


def sign_in(url: str, user: str = "admin") -> str:
    form = "&".join(f"{name}={value}" for name, value in {**login(user), **CLIENT}.items())
    said = subprocess.run(["curl", "-s", f"{url}/oauth/token", "-d", form], check=True, capture_output=True)
    return json.loads(said.stdout)["access_token"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def login(user: str = "admin") -> dict[str, str]:
    return {"grant_type": "password", "username": user, "password": PASSWORD}


def load(url: str, token: str, *, keep_alive: bool, requests: int = REQUESTS) -> Load:
    command = [
        "ab",
        "-q",
        "-n",
        str(requests),
        "-c",
        str(CONNECTIONS),
        "-H",
        f"Authorization: Bearer {token}",
    ]
    said = subprocess.run(
        [*command, *(["-k"] if keep_alive else []), url], check=True, capture_output=True, text=True
    ).stdout
    bad = re.search(r"Non-2xx responses:\s+(\d+)", said)
    return Load(
        per_s=_number(r"Requests per second:\s+([\d.]+)", said),
        mean_ms=_number(r"Time per request:\s+([\d.]+) \[ms\] \(mean\)", said),
        p99_ms=_number(r"\s99%\s+(\d+)", said),
        failed=int(_number(r"Failed requests:\s+(\d+)", said)) + (int(bad[1]) if bad else 0),
    )


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"ab did not say {pattern}: {text[-500:]}")
    return float(found[1])


def lists_without_limits(url: str, peer: Load) -> None:
    token = sign_in(url)
    load(f"{url}{USERS}", token, keep_alive=True, requests=2000)
    ours = load(f"{url}{USERS}", token, keep_alive=True)
    theirs = f"{peer.per_s:.0f}/s"
    tell("list 100 users, c=100, keep-alive, no limiter", ours.per_s, "/s", ">= 5 x peer", theirs)
    tell("the same, of the peer's rate", ours.per_s / peer.per_s, "x", ">= 5")
    tell("the same, P99", ours.p99_ms, "ms", "", f"{peer.p99_ms:.0f} ms")
    tell("the same, failed", ours.failed, "requests", "0", str(peer.failed))


def documented_load_test(url: str) -> None:
    """ab -n 10000 -c 100 as printed: new connections, default limits, one user."""
    found = load(f"{url}{USERS}", sign_in(url), keep_alive=False)
    tell("ab -n 10000 -c 100, default limits", found.per_s, "/s", ">= 1000")
    tell("the same, mean", found.mean_ms, "ms", "< 100")
    tell("the same, failed", found.failed, "requests", "0")


async def overhead(url: str, cluster: LightCluster, direct: str) -> None:
    """One request after another, the two ways in turn, so that both see the same machine."""
    path = "/api/v1/namespaces/edge-system/configmaps/bench"
    token = sign_in(url)
    through: list[float] = []
    straight: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        for number in range(1100):
            for where, key, times in ((url, token, through), (cluster.server, direct, straight)):
                start = time.perf_counter()
                async with session.get(
                    f"{where}{path}", headers={"Authorization": f"Bearer {key}"}
                ) as answer:
                    await answer.read()
                if number >= 100:
                    times.append((time.perf_counter() - start) * 1000)
    for share, name, target in ((50, "P50", "< 2"), (99, "P99", "< 10")):
        added = percentile(through, share) - percentile(straight, share)
        tell(
            f"added by the proxy, {name}", added, "ms", target, f"{percentile(straight, share):.2f} ms direct"
        )


async def sign_ins(url: str) -> None:
    """bcrypt cost 10, eight at a time, while lists go on beside."""
    token = sign_in(url)
    lists: list[float] = []
    async with aiohttp.ClientSession() as session:

        async def one() -> None:
            async with session.post(f"{url}/oauth/token", data={**login(), **CLIENT}) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"sign-in was answered with {answer.status}")
                await answer.read()

        async def listing() -> None:
            while True:
                start = time.perf_counter()
                async with session.get(
                    f"{url}{USERS}", headers={"Authorization": f"Bearer {token}"}
                ) as answer:
                    await answer.read()
                lists.append((time.perf_counter() - start) * 1000)
                await asyncio.sleep(0.005)

        beside = asyncio.create_task(listing())
        start = time.perf_counter()
        for _ in range(15):
            await asyncio.gather(*(one() for _ in range(8)))
        took_s = time.perf_counter() - start
        beside.cancel()
    tell("sign-ins, bcrypt cost 10", 120 / took_s, "/s", ">= 20")
    tell("lists beside the sign-ins, P99", percentile(lists, 99), "ms", "< 50")


async def fairness(url: str, limits: str) -> None:
    """One user asks at a steady pace, alone and then beside another with 100 connections (G4).

    Whoever measures shares the cores with the flood: part of what grows is the machine's.
    """
    modest, greedy = sign_in(url), sign_in(url, "greedy")

    async def paced(session: aiohttp.ClientSession, seconds: float) -> list[float]:
        times: list[float] = []
        ends = time.perf_counter() + seconds
        while (start := time.perf_counter()) < ends:
            async with session.get(f"{url}{USERS}?limit=1", headers=bearer(modest)) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"a list was answered with {answer.status}")
            times.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(0.01)
        return times

    idle: list[float] = []
    beside: list[float] = []
    async with aiohttp.ClientSession() as session:
        await paced(session, 1)
        for _ in range(5):  # in turns, so that both see the same machine
            idle.append(percentile(await paced(session, 2), 99))
            command = ("ab", "-q", "-k", "-t", "4", "-n", "1000000", "-c", str(CONNECTIONS))
            flood = await asyncio.create_subprocess_exec(
                *command, "-H", f"Authorization: Bearer {greedy}", f"{url}{USERS}",
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await asyncio.sleep(1)
            beside.append(percentile(await paced(session, 2), 99))
            await flood.wait()
    alone, together = statistics.median(idle), statistics.median(beside)
    tell(f"a user beside a greedy one, {limits}, P99", together, "ms", "<= 2 x idle", f"{alone:.2f} ms idle")
    tell(f"the same, of idle, {limits}", together / alone, "x", "<= 2")


def percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100)[share - 1]


if __name__ == "__main__":
    sys.exit(main())
