"""What the proxy path costs against going straight to the API server (issue: added P50 < 2 ms, P99 < 10 ms).

The same client asks both in turn, so that they see the same machine: one pod, one answer of 100 MB (a list of
ConfigMaps, which the API server sends as it sends a long log), and bytes through a spliced upgrade.
"""

import asyncio
import base64
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.perf.bench_gateway import bearer, gateway, percentile, prepare, sign_in, tell

from edge_kube.core import ConfigMap
from edge_kube.harness import LightCluster
from edge_kube.meta import ObjectMeta

POD = "/api/v1/namespaces/edge-system/pods/bench"
BIG = "/api/v1/namespaces/bulk/configmaps"
PIECE = 900_000
PIECES = 112
ROUNDS = 5
EXEC = "/api/v1/namespaces/a/pods/p/exec?command=sh"
STREAM_BYTES = 200_000_000

# A process of its own: what sends must not share a core's time with what receives.
FAST_SERVER = """
import asyncio, sys
BLOCK = bytes(65536)
async def serve(reader, writer):
    try:
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        if b"Upgrade:" not in head:
            return
        writer.write(b"HTTP/1.1 101 Switching Protocols\\r\\n")
        writer.write(b"Connection: Upgrade\\r\\nUpgrade: SPDY/3.1\\r\\n\\r\\n")
        left = int(sys.argv[1])
        while left > 0:
            writer.write(BLOCK)
            left -= len(BLOCK)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def main() -> int:
    with LightCluster() as cluster, tempfile.TemporaryDirectory() as folder:
        asyncio.run(prepare(cluster))
        asyncio.run(fill(cluster))
        direct = cluster.kubectl("create", "token", "bench", "-n", "edge-system").strip()
        flags = ("--rateLimit.enabled=false", "--server.loopbackMembers=true")
        with gateway(cluster, Path(folder), *flags) as url:
            token = sign_in(url)
            asyncio.run(one_pod(url, token, cluster.server, direct))
            asyncio.run(big_answer(url, token, cluster.server, direct))
            asyncio.run(spliced(url, token, cluster))
    return 0


async def fill(cluster: LightCluster) -> None:
    cluster.kubectl("create", "namespace", "bulk")
    cluster.kubectl("create", "serviceaccount", "default", "-n", "edge-system")
    cluster.kubectl("run", "bench", "-n", "edge-system", "--image=busybox")
    async with cluster.client() as client:
        for number in range(PIECES):
            meta = ObjectMeta(name=f"bulk-{number}", namespace="bulk")
            await client.create(ConfigMap(metadata=meta, data={"log": "x" * PIECE}), manager="bench")


async def one_pod(url: str, token: str, server: str, direct: str) -> None:
    through: list[float] = []
    straight: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        for number in range(2200):
            for where, key, times in ((url, token, through), (server, direct, straight)):
                start = time.perf_counter()
                async with session.get(f"{where}{POD}", headers=bearer(key)) as answer:
                    await answer.read()
                    answer.raise_for_status()
                if number >= 200:
                    times.append((time.perf_counter() - start) * 1000)
    for share, target in ((50, "< 2"), (99, "< 10")):
        added = percentile(through, share) - percentile(straight, share)
        tell(f"GET pod, added P{share}", added, "ms", target, f"{percentile(straight, share):.2f} ms direct")


async def big_answer(url: str, token: str, server: str, direct: str) -> None:
    """Bytes a second of one answer of 100 MB, read as it comes."""
    rates: dict[str, list[float]] = {url: [], server: []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        for _ in range(ROUNDS):
            for where, key in ((url, token), (server, direct)):
                start, size = time.perf_counter(), 0
                headers = {**bearer(key), "Accept-Encoding": "identity"}
                async with session.get(f"{where}{BIG}", headers=headers) as answer:
                    answer.raise_for_status()
                    async for piece in answer.content.iter_any():
                        size += len(piece)
                rates[where].append(size / (time.perf_counter() - start) / 1e6)
    ours, theirs = statistics.median(rates[url]), statistics.median(rates[server])
    tell("100 MB through the proxy", ours, "MB/s", "", f"{theirs:.0f} MB/s direct")
    tell("the same, of direct", ours / theirs * 100, "%", ">= 70")


async def spliced(url: str, token: str, cluster: LightCluster) -> None:
    """An upgraded connection, from a server that sends as fast as it may."""
    async with fast_server() as port:
        await add_member(cluster, port)
        host, _, own = url.removeprefix("http://").partition(":")
        await until_known(url, token)
        rates: dict[str, list[float]] = {"through": [], "direct": []}
        for _ in range(ROUNDS):
            rates["through"].append(await receive(host, int(own), f"/clusters/fast{EXEC}", token))
            rates["direct"].append(await receive("127.0.0.1", port, EXEC, token))
    ours, theirs = statistics.median(rates["through"]), statistics.median(rates["direct"])
    tell("exec, bytes spliced", ours, "MB/s", "", f"{theirs:.0f} MB/s direct")


@asynccontextmanager
async def fast_server() -> AsyncGenerator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FAST_SERVER, str(STREAM_BYTES), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


async def add_member(cluster: LightCluster, port: int) -> None:
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    content = base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()
    manifest = {
        "apiVersion": "scope.theriseunion.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "fast"},
        "spec": {"connection": {"type": "direct", "kubeconfig": content}},
    }
    async with cluster.client() as client:
        await client.create(manifest, manager="bench")


async def until_known(url: str, token: str) -> None:
    path = f"{url}/oapis/tenant/v1alpha1/clusters/fast"
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            async with session.get(path, headers=bearer(token)) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


async def receive(host: str, port: int, path: str, token: str) -> float:
    """MB/s of what follows a 101."""
    reader, writer = await asyncio.open_connection(host, port, limit=1024 * 1024)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head:
        raise RuntimeError(head.decode())
    start, size = time.perf_counter(), 0
    while size < STREAM_BYTES and (piece := await reader.read(1024 * 1024)):
        size += len(piece)
    writer.close()
    return size / (time.perf_counter() - start) / 1e6


if __name__ == "__main__":
    sys.exit(main())
