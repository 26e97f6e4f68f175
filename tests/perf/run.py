"""`make bench`: run the benches, print one table, keep the figures as JSON lines.

A bench is a script `bench_<name>.py` beside this file. It prints a JSON object a line:
    {"bench": "take-over after kill", "value": 13.1, "unit": "s", "target": "<= 16", "peer": "18.2 s"}
bench, value and unit are required; a figure printed several times is shown as its median with the spread.
Other lines are progress and go to standard error. Nothing here passes or fails: machines are noisy (rule 7).

    python tests/perf/run.py [NAME …] [--repeat N] [--out FILE]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> int:
    arguments = _arguments()
    scripts = sorted(HERE.glob("bench_*.py"))
    known = {script.stem.removeprefix("bench_"): script for script in scripts}
    wanted = arguments.names or list(known)
    if unknown := [name for name in wanted if name not in known]:
        print(f"no bench {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[dict[str, Any]] = []
    failed: list[str] = []
    for name in wanted:
        for _ in range(arguments.repeat):
            print(f"bench {name} …", file=sys.stderr, flush=True)
            code = measure(known[name], figures)
            if code != 0:
                failed.append(f"{name} (exit {code})")
    print(table(figures))
    if arguments.out:
        lines = [json.dumps({**one, "machine": machine()}) for one in figures]
        Path(arguments.out).write_text("\n".join(lines) + "\n")
    if failed:
        print(f"did not finish: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(script: Path, figures: list[dict[str, Any]]) -> int:
    """Run one script, append what it measures, return its exit code."""
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        figures.extend(_figures(child.stdout, script.stem.removeprefix("bench_")))
        return child.wait()


def _figures(lines: Iterator[str], group: str) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            one = json.loads(line)
            yield {"group": group, "bench": str(one["bench"]), "value": float(one["value"]), **one}
        except (ValueError, KeyError, TypeError):
            print(line, end="", file=sys.stderr, flush=True)


def table(figures: list[dict[str, Any]]) -> str:
    """The figures as Markdown: median, spread over the runs, target, and the peer of the same run."""
    rows = [("", "measured", "median", "min – max", "runs", "wanted", "peer")]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in figures:
        groups.setdefault((one["group"], one["bench"]), []).append(one)
    for (group, bench), same in groups.items():
        values = [one["value"] for one in same]
        unit = same[0].get("unit", "")
        spread = f"{_short(min(values))} – {_short(max(values))}" if len(values) > 1 else ""
        median = f"{_short(statistics.median(values))} {unit}"
        rows.append(
            (group, bench, median, spread, str(len(values)), str(same[0].get("target", "")),
             str(same[0].get("peer", "")))
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([machine(), "", *lines])


def machine() -> str:
    """What the figures were measured on."""
    memory_kib = next(
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal")
    )
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory_kib // 1024**2} GiB, Linux {platform.release()}, load {load:.1f}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure, and print one table.")
    parser.add_argument("names", nargs="*", help="benches to run; all when none is named")
    parser.add_argument("--repeat", type=int, default=1, help="run each so often and show the median")
    parser.add_argument("--out", help="also write the figures to this file, a JSON object a line")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
