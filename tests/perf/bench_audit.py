"""The audit trail's figures: a durable append, changes a second, verification (O6; issue figures).

A change is an intent that is waited for and an outcome that is not, as in the gateway. The peer is one write
and one fdatasync per record on the same disk in the same run, as a trail without group commit would.
"""

import asyncio
import json
import os
import ssl
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from aiohttp import web
from tests.support.trails import KEY, ROOMY, change, intent, trail

from edge.apiserver.sinks.access import Doorkeeper
from edge.apiserver.sinks.client import SinkClient, TokenFile
from edge.apiserver.sinks.server import SinkServer
from edge.apiserver.sinks.signed import HEADER, is_signed
from edge.audit.folder import Folder
from edge.audit.received import Received
from edge.audit.record import canonical
from edge.audit.shipping import Shipper
from edge.audit.statements import key_name
from edge.audit.trail import Trail
from edge.audit.verifier import Verifier
from edge.audit.verify import verify

STEADY_PER_S, STEADY_S = 500, 10.0
CLIENTS, FLAT_OUT = 50, 20_000
VERIFIED = 200_000


def main() -> int:
    if sys.argv[1:2] == ["--sink"]:
        asyncio.run(sink(Path(sys.argv[2])))
        return 0
    with tempfile.TemporaryDirectory(dir=Path(os.environ.get("BENCH_DIR", tempfile.gettempdir()))) as folder:
        peer = one_by_one(Path(folder) / "peer")
        asyncio.run(steady(Path(folder) / "steady", peer))
        asyncio.run(flat_out(Path(folder) / "flat"))
        verification(Path(folder) / "long")
        asyncio.run(shipped(Path(folder) / "shipped"))
    return 0


def tell(bench: str, value: float, unit: str, target: str = "", peer: str = "") -> None:
    figure = {"bench": bench, "value": round(value, 3), "unit": unit, "target": target, "peer": peer}
    print(json.dumps(figure), flush=True)


def percentile(values: Sequence[float], share: int) -> float:
    return statistics.quantiles(values, n=100)[share - 1]


def one_by_one(path: Path) -> list[float]:
    """Milliseconds of each of 1,000 appends with a flush."""
    body = canonical(intent()) + b"\n"
    times: list[float] = []
    with path.open("ab", buffering=0) as file:
        for _ in range(1000):
            start = time.perf_counter()
            file.write(body)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    return times


async def steady(path: Path, peer: Sequence[float]) -> None:
    """500 changes a second, each begun on its own clock tick: how long an acknowledgement takes."""
    times: list[float] = []
    async with trail(path) as made:
        await change(made)

        async def one(number: int) -> None:
            asked = intent(f"web-{number}")
            start = time.perf_counter()
            await made.begin(asked)
            times.append((time.perf_counter() - start) * 1000)
            made.finish(asked)

        begun = time.perf_counter()
        running: list[asyncio.Task[None]] = []
        for number in range(int(STEADY_PER_S * STEADY_S)):
            await asyncio.sleep(max(0.0, begun + number / STEADY_PER_S - time.perf_counter()))
            running.append(asyncio.create_task(one(number)))
        await asyncio.gather(*running)
        rate = len(times) / (time.perf_counter() - begun)
    tell(
        "append with fsync at 500 changes/s, P50",
        percentile(times, 50),
        "ms",
        "",
        f"{percentile(peer, 50):.2f} ms",
    )
    tell("the same, P99", percentile(times, 99), "ms", "< 10", f"{percentile(peer, 99):.2f} ms")
    tell("the same, rate kept", rate, "/s", ">= 500")


class OpenDoor(Doorkeeper):
    """What a review of a token costs is paid once in 30 s, and not here; the signature is checked."""

    def __init__(self) -> None:
        self._trusted = {key_name(KEY.public_key()): KEY.public_key()}

    async def check(self, request: web.BaseRequest, *, peers_may: bool) -> None:
        signed = is_signed(
            request.headers[HEADER],
            self._trusted,
            method=request.method,
            to=request.host,
            path=request.raw_path,
            body=await request.read(),
        )
        assert signed or peers_may


async def sink(path: Path) -> None:
    """A sink as a process of its own, without TLS; prints its port."""
    folder = Folder(path)
    folder.make()
    folder.add_key(KEY.public_key())
    server = SinkServer(Received(folder, ROOMY), OpenDoor(), Verifier(path, path.name))
    runner = web.AppRunner(server.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def shipped(path: Path) -> None:
    """Three sinks on this disk, each with its own flushes; two must have a record."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--sink", str(path / f"sink-{number}")), stdout=PIPE
        )
        for number in range(3)
    ]
    (path / "token").parent.mkdir(exist_ok=True)
    (path / "token").write_text("none")
    clients: list[SinkClient] = []
    try:
        for process in processes:
            assert process.stdout is not None
            port = int(await process.stdout.readline())
            token, tls = TokenFile(path / "token"), ssl.create_default_context()
            clients.append(SinkClient(f"http://127.0.0.1:{port}", token, tls, KEY))
        made = Trail(Shipper(clients, "gateway-1", KEY, enough=2), within_s=10)
        made.start()
        await change(made)
        times: list[float] = []

        async def one(number: int) -> None:
            asked = intent(f"web-{number}")
            start = time.perf_counter()
            await made.begin(asked)
            times.append((time.perf_counter() - start) * 1000)
            made.finish(asked)

        begun = time.perf_counter()
        running: list[asyncio.Task[None]] = []
        for number in range(int(STEADY_PER_S * STEADY_S)):
            await asyncio.sleep(max(0.0, begun + number / STEADY_PER_S - time.perf_counter()))
            running.append(asyncio.create_task(one(number)))
        await asyncio.gather(*running)
        tell("two of three sinks have it, at 500 changes/s, P50", percentile(times, 50), "ms")
        tell("two of three sinks have it, P99", percentile(times, 99), "ms", "< 10")
        start = time.perf_counter()
        await many(made, FLAT_OUT // 4, CLIENTS)
        tell(
            f"changes to three sinks, {CLIENTS} at a time",
            FLAT_OUT / 4 / (time.perf_counter() - start),
            "/s",
            ">= 500",
        )
        await made.close()
    finally:
        for client in clients:
            await client.close()
        for process in processes:
            process.terminate()
            await process.wait()


async def flat_out(path: Path) -> None:
    async with trail(path) as made:
        start = time.perf_counter()
        await many(made, FLAT_OUT, CLIENTS)
        took_s = time.perf_counter() - start
        batches = made.counts.batches
    tell(f"changes, {CLIENTS} at a time", FLAT_OUT / took_s, "/s", ">= 500")
    tell("records in a batch", 2 * FLAT_OUT / batches, "records")


async def many(made: Trail, changes: int, clients: int) -> None:
    left = iter(range(changes - 1))

    async def client() -> None:
        for number in left:
            await change(made, f"web-{number}")

    await asyncio.gather(*(client() for _ in range(clients)))
    await change(made)  # behind all others


async def long_chain(path: Path) -> None:
    async with trail(path) as made:
        await many(made, VERIFIED // 2, 256)


def verification(path: Path) -> None:
    asyncio.run(long_chain(path))
    start = time.perf_counter()
    report = verify(Folder(path))
    took_s = time.perf_counter() - start
    if report.broken is not None or report.records != VERIFIED:
        raise RuntimeError(f"the chain did not verify: {report}")
    size = sum(file.stat().st_size for file in path.glob("*.log"))
    tell("verify", VERIFIED / took_s, "records/s", ">= 200000")
    tell("size of a record", size / VERIFIED, "bytes")


if __name__ == "__main__":
    sys.exit(main())
