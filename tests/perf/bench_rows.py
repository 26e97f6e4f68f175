"""A window of 10,000 rows: worked out for the first time, and asked for again (G3, G7).

    python tests/perf/bench_rows.py

Our own work in CPU time of the thread, without HTTP.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.figures import at, figure, timed

from edge.apiserver.lists.kinds import RowKind, known
from edge.apiserver.lists.shape import positions, row
from edge.apiserver.mirrors.kinds import collection_of
from edge.apiserver.mirrors.store import Collection
from edge.apiserver.rows.columns import choose
from edge.apiserver.rows.project import Item
from edge.apiserver.rows.selectors import read_labels
from edge.apiserver.rows.window import WindowQuery, pick, read_order
from edge.clusters.types import Cluster
from edge.iam.turns import finish
from edge_kube.meta import kind_of

OBJECTS = 10_000
PHASES = ("Ready", "Ready", "Ready", "Degraded", "Offline")


def fill() -> tuple[Collection, RowKind]:
    kind = kind_of(Cluster)
    collection, rows = collection_of(kind), known(kind.group, kind.plural)
    assert rows is not None
    for n in range(OBJECTS):
        meta = {"name": f"site-{n:05d}", "uid": f"uid-{n}", "resourceVersion": str(n + 1)}
        meta |= {
            "labels": {"region": f"r{n % 20}"},
            "creationTimestamp": f"2026-01-{n % 28 + 1:02d}T00:00:00Z",
        }
        ready = {"type": "Ready", "status": "True", "reason": "AllWell", "message": "it answers"}
        status = {"phase": PHASES[n % 5], "nodeCount": n % 97, "region": f"r{n % 20}", "conditions": [ready]}
        collection.put(json.dumps({"metadata": meta, "spec": {}, "status": status}).encode())
    return collection, rows


async def main() -> None:
    collection, kind = fill()
    start = time.thread_time()
    await finish(kind.prepare(collection.ordered()))
    figure("rows of 10,000 objects worked out, a piece at a time", (time.thread_time() - start) * 1000, "ms")
    chosen = choose(kind.columns, "")
    places = positions(chosen, kind.columns)

    def ask(query: WindowQuery) -> list[dict[str, object]]:
        items: list[Item] = [kind.item(stored) for stored in collection.ordered()]
        return [row(item, places) for item in pick(items, query, kind.columns).rows]

    for name, query in (
        ("plain", WindowQuery()),
        ("sorted by two columns", WindowQuery(order=read_order("-age,nodes", kind.columns))),
        ("searched, selected, counted", WindowQuery(
            q="site-0", labels=read_labels("region in (r1,r2)"), facets=("status", "region")
        )),
        ("sorted by status, counted", WindowQuery(
            order=read_order("status", kind.columns), facets=("status", "region"), offset=5_000
        )),
    ):  # fmt: skip
        assert ask(query)
        _, us = timed(ask, [(query,)] * 50, time.thread_time_ns)
        figure(f"window of 10,000 rows, {name}, P50", at(us, 0.5) / 1000, "ms", "< 100")


if __name__ == "__main__":
    asyncio.run(main())
