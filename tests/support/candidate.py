"""One candidate for the lead, as a process: while it leads it writes, and it notes when it may write.

    python -m tests.support.candidate KUBECONFIG NAME LEASE LEASE_S RENEW_S RETRY_S JOURNAL

The journal has one JSON line per event: {"event": "start" | "lead" | "stop" | "valid", "at": CLOCK_BOOTTIME};
a "valid" line spans the time in which every look at `valid()` was true.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from edge_kube.client import Client
from edge_kube.config import load_kubeconfig
from edge_kube.core import ConfigMap
from edge_kube.errors import KubeError
from edge_kube.leader import LeaderElector, boottime_s
from edge_kube.lease import LeaseApi
from edge_kube.manager import stop_on_signals
from edge_kube.meta import Key
from edge_kube.metrics import Metrics
from edge_kube.transport import Transport

CONFIG_MAP = "writes"


class Journal:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def note(self, event: str, **fields: Any) -> None:
        self._file.write(json.dumps({"event": event, "at": boottime_s(), **fields}) + "\n")


class Writing:
    """Work that writes its own key all the time, and would go on for ever."""

    def __init__(self, client: Client, name: str, journal: Journal) -> None:
        self._client = client
        self._name = name
        self._journal = journal
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._journal.note("lead")
        self._task = asyncio.create_task(self._write())

    async def stop(self, *, grace_s: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._journal.note("stop")

    async def _write(self) -> None:
        number = 0
        while True:
            number += 1
            try:
                patch = {"data": {self._name: str(number)}}
                await self._client.merge(ConfigMap, Key("default", CONFIG_MAP), patch)
            except KubeError as error:
                self._journal.note("refused", why=type(error).__name__)
            await asyncio.sleep(0.02)


async def watch_validity(elector: LeaderElector, journal: Journal) -> None:
    since: float | None = None
    last = 0.0
    while True:
        # One clock reading on each side: what lies between two looks is not claimed.
        before = boottime_s()
        if elector.valid():
            since = before if since is None else since
            last = before
            if last - since > 0.2:  # in pieces, so that a kill loses little
                journal.note("valid", since=since, until=last)
                since = last
        elif since is not None:
            journal.note("valid", since=since, until=last)
            since = None
        await asyncio.sleep(0.01)


async def main() -> None:
    kubeconfig, name, lease, lease_s, renew_s, retry_s, journal_path = sys.argv[1:]
    journal = Journal(Path(journal_path))
    connection = load_kubeconfig(Path(kubeconfig))
    transport = Transport(connection)
    elector = LeaderElector(
        LeaseApi(transport, lease, "default"),
        identity=name,
        metrics=Metrics(),
        lease_s=float(lease_s),
        renew_deadline_s=float(renew_s),
        retry_s=float(retry_s),
        grace_s=min(4.0, float(lease_s) - float(renew_s) - 0.5),
    )
    stop = stop_on_signals()
    journal.note("start")
    watching = asyncio.create_task(watch_validity(elector, journal))
    async with Client(connection) as client:
        work = Writing(client.derive(gate=elector.valid), name, journal)
        await elector.lead(work, stop)
    await asyncio.sleep(0.05)
    watching.cancel()
    await transport.close()


if __name__ == "__main__":
    asyncio.run(main())
