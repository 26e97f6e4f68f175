"""Candidates for one lease in processes of their own, and what they note about who led when."""

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_kube.harness import LightCluster

REAL = (15.0, 10.0, 2.0)  # lease, renew deadline, retry: the values of a real installation
SHORT = (9.0, 6.0, 0.4)  # a process that gets no turn for some seconds does not lose its lead
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Candidate:
    name: str
    process: subprocess.Popen[bytes]
    journal: Path

    def events(self, kind: str) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        lines = [line for line in self.journal.read_text().splitlines() if line.endswith("}")]
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def signal(self, number: int) -> float:
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.process.send_signal(number)
        return at

    def wait(self) -> None:
        self.process.wait(120)


@dataclass
class Race:
    """Candidates for one lease."""

    cluster: LightCluster
    folder: Path
    lease: str
    times: tuple[float, float, float] = SHORT
    candidates: list[Candidate] = field(default_factory=list[Candidate])

    def enter(self, name: str) -> Candidate:
        journal = self.folder / f"{len(self.candidates)}-{name}.jsonl"
        arguments = [str(self.cluster.kubeconfig), name, self.lease, *map(str, self.times), str(journal)]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.candidate", *arguments],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        candidate = Candidate(name, process, journal)
        self.candidates.append(candidate)
        return candidate

    def close(self) -> None:
        for candidate in self.candidates:
            if candidate.process.poll() is None:
                candidate.process.send_signal(signal.SIGCONT)
                candidate.process.kill()
                candidate.process.wait(60)

    def holder(self) -> str:
        return self.cluster.kubectl("get", "lease", self.lease, "-o", "jsonpath={.spec.holderIdentity}")

    def renewed(self) -> str:
        """When the holder renewed last, by its own clock."""
        return self.cluster.kubectl("get", "lease", self.lease, "-o", "jsonpath={.spec.renewTime}")

    def written_by(self, name: str) -> int:
        path = f"jsonpath={{.data.{name}}}"
        return int(self.cluster.kubectl("get", "configmap", "writes", "-o", path) or 0)

    def leads(self, candidate: Candidate, times: int = 1, within_s: float = 60) -> float:
        """When it began to lead for the n-th time."""
        until(lambda: len(candidate.events("lead")) >= times, within_s, f"{candidate.name} leads")
        return float(candidate.events("lead")[times - 1]["at"])

    def assert_no_overlap(self) -> None:
        spans = sorted(
            (event["since"], event["until"], number)
            for number, candidate in enumerate(self.candidates)
            for event in candidate.events("valid")
        )
        for (_, ended, first), (began, _, second) in itertools.pairwise(spans):
            names = f"{self.candidates[first].name} and {self.candidates[second].name}"
            assert first == second or ended < began, f"{names} could write for {ended - began:.3f} s"


def until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    ends_at = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > ends_at:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)
