"""What a bench prints: figures as JSON lines for tests/perf/run.py, and the arithmetic behind them."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any


def figure(bench: str, value: float, unit: str, target: str = "", peer: str = "") -> None:
    line = {"bench": bench, "value": round(value, 3), "unit": unit, "target": target, "peer": peer}
    print(json.dumps(line), flush=True)


def memory_mb(pid: int | str = "self") -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def timed(
    do: Callable[..., Any], items: Iterable[Sequence[Any]], clock: Callable[[], int] = time.perf_counter_ns
) -> tuple[float, list[float]]:
    """Calls a second of this thread's CPU, and the sorted microseconds of each by the clock.

    On a machine that others use too, `time.thread_time_ns` leaves out what they took of it; it is too slow
    for what takes less than some ten microseconds.
    """
    found: list[int] = []
    start_s = time.thread_time()
    for item in items:
        before = clock()
        do(*item)
        found.append(clock() - before)
    elapsed_s = time.thread_time() - start_s
    return len(found) / elapsed_s, [one / 1000 for one in sorted(found)]


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
