"""Three candidates under random kills, stops and freezes: never two at once, always one again (L1–L4; R9)."""

import random
import signal
import time
from pathlib import Path

import pytest
from tests.support.race import SHORT, Candidate, Race, until

from edge_kube.harness import LightCluster

ROUNDS = 200


@pytest.mark.soak
def test_whatever_happens_to_candidates_no_two_may_ever_write(tmp_path: Path) -> None:
    chance = random.Random(1)
    with LightCluster() as cluster:
        cluster.kubectl("create", "configmap", "writes")
        race = Race(cluster, tmp_path, "soak", SHORT)
        try:
            alive = [race.enter(f"pod-{number}") for number in range(3)]
            for _ in range(ROUNDS):
                time.sleep(chance.uniform(0.1, 6))
                _disturb(race, alive, chance)
            led = sum(len(candidate.events("lead")) for candidate in race.candidates)
            until(lambda: _led(race) > led or _leads_now(race, alive), 30, "somebody leads in the end")
            race.assert_no_overlap()
        finally:
            race.close()


def _disturb(race: Race, alive: list[Candidate], chance: random.Random) -> None:
    victim = chance.choice(alive)
    what = chance.choice(["kill", "stop", "freeze", "delete"])
    if what == "delete":
        race.cluster.kubectl("delete", "lease", race.lease, "--ignore-not-found")
        return
    if what == "freeze":
        victim.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 8))
        victim.signal(signal.SIGCONT)
        return
    victim.signal(signal.SIGKILL if what == "kill" else signal.SIGTERM)
    victim.wait()
    alive.remove(victim)
    alive.append(race.enter(victim.name))  # under its old name, as a pod of a StatefulSet


def _led(race: Race) -> int:
    return sum(len(candidate.events("lead")) for candidate in race.candidates)


def _leads_now(race: Race, alive: list[Candidate]) -> bool:
    leading = [one for one in alive if len(one.events("lead")) > len(one.events("stop"))]
    return len(leading) == 1 and race.holder() == leading[0].name
