"""Virtual clusters: time to Ready, alone and many at once, and memory of a control plane (C5, C12).

Runs on an instance of its own; the host cluster's processes share the two cores with what is measured.
PSS counts a page that several processes share to each in part, so it falls as more planes run.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e import instance
from tests.e2e.instance import Platform

RUNS = 3
SETTLE_S = 60.0
WITHIN_S = 400


def tell(bench: str, value: float, unit: str, target: str) -> None:
    print(json.dumps({"bench": bench, "value": round(value, 1), "unit": unit, "target": target}), flush=True)


def main() -> None:
    with instance.platform() as platform:
        for index in range(RUNS):
            seconds = timed(platform, [f"bare-{index}"], "type: virtual, worker: {enabled: false}")
            tell("plane Ready, without worker", seconds, "s", "<= 10")
            remove(platform, [f"bare-{index}"])
        for index in range(RUNS):
            tell("plane with worker Ready", timed(platform, [f"full-{index}"], "type: virtual"), "s", "<= 30")
            began = time.monotonic()
            remove(platform, [f"full-{index}"])
            tell("deleted, with worker", time.monotonic() - began, "s", "")
        five = [f"five-{index}" for index in range(5)]
        tell("5 with workers, all Ready", timed(platform, five, "type: virtual"), "s", "<= 90")
        remove(platform, five)
        for mode, target in (("shared", "<= 180"), ("own", "<= 215")):
            names = [f"{mode}-{index}" for index in range(5)]
            timed(platform, names, f"type: virtual, datastore: {{mode: {mode}}}, worker: {{enabled: false}}")
            time.sleep(SETTLE_S)
            tell(f"PSS a plane, {mode} etcd, 5 run", memory(platform, mode), "MiB", target)
            remove(platform, names)
        twenty = [f"perf-test-cluster-{index}" for index in range(1, 21)]
        seconds = timed(platform, twenty, "type: virtual, distribution: k3s, worker: {enabled: false}")
        tell("20 without workers, all Ready", seconds, "s", "<= 180")


def timed(platform: Platform, names: Sequence[str], spec: str) -> float:
    """Seconds from one apply of all to the last condition Ready, as kubectl sees it."""
    head = "apiVersion: scope.theriseunion.io/v1alpha1\nkind: Cluster\n"
    documents = [f"{head}metadata: {{name: {name}}}\nspec: {{{spec}}}\n" for name in names]
    began = time.monotonic()
    platform.kubectl("apply", "-f", "-", stdin="---\n".join(documents))
    targets = [f"cluster/{name}" for name in names]
    platform.kubectl("wait", "--for=condition=Ready", *targets, f"--timeout={WITHIN_S}s")
    return time.monotonic() - began


def remove(platform: Platform, names: Sequence[str]) -> None:
    platform.kubectl("delete", "cluster", *names, f"--timeout={WITHIN_S}s")


def memory(platform: Platform, mode: str) -> float:
    """Mean PSS in MiB of a control plane's processes; with `own`, its etcd counts too."""
    totals = [pss_kib(pid) for pid in processes(platform, "plane")]
    mean = statistics.mean(totals)
    if mode == "own":
        stores = [pss_kib(pid) for pid in processes(platform, "--name=plane")]
        mean += statistics.mean(stores)
    return mean / 1024


def processes(platform: Platform, argument: str) -> Iterator[int]:
    """Of this instance, those that carry `argument` right after the name of the program."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            group = (folder / "cgroup").read_text()
        except OSError:
            continue
        if argv[1:2] == [argument] and f"/{platform.instance.cgroup}/" in group:
            yield int(folder.name)


def pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
