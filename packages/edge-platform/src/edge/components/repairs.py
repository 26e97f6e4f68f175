"""What is done about drift: put back, only said, or given up where somebody else keeps changing it. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from edge.components import reasons as why
from edge.components.ports import Inspection
from edge.components.step import Step
from edge_kube.meta import Model

FIGHT_REPAIRS = 3
FIGHT_WITHIN_S = 600.0
AGAIN_S = 1.0


class Repair(Model):
    """names: objects to put back now, as the Inspection calls them."""

    step: Step
    names: tuple[str, ...] = ()


def plan_repair(
    step: Step,
    inspection: Inspection,
    policy: str,
    repaired: Mapping[str, Sequence[float]],
    now_s: float,
) -> Repair:
    """repaired: object → times of its repairs so far. Only what is deployed as asked is repaired."""
    drifted = (*inspection.missing, *inspection.changed)
    if not drifted or policy == "Off":
        return Repair(step=step)
    fought = tuple(name for name in drifted if _is_fight(repaired.get(_object(name), ()), now_s))
    names = tuple(name for name in drifted if name not in fought) if policy == "Repair" else ()
    listed = "; ".join((fought or drifted)[:5])
    if fought:
        message = (
            f"{listed}: put back {FIGHT_REPAIRS} times in {FIGHT_WITHIN_S / 60:.0f} min and changed again. "
            "Find out who does it, or set spec.driftPolicy to Report."
        )
        return Repair(step=_degraded(step, why.DRIFT_FIGHT, message), names=names)
    if not names:
        return Repair(step=_degraded(step, why.DRIFTED, f"Different from the release: {listed}."))
    return Repair(step=msgspec.structs.replace(step, after_s=AGAIN_S), names=names)


def remember(
    repaired: Mapping[str, Sequence[float]], names: Sequence[str], now_s: float
) -> dict[str, tuple[float, ...]]:
    """`repaired` with new times in it, and without those that no longer count."""
    kept = {
        name: recent
        for name, times in repaired.items()
        if (recent := tuple(t for t in times if now_s - t < FIGHT_WITHIN_S))
    }
    for name in names:
        kept[_object(name)] = (*kept.get(_object(name), ()), now_s)
    return kept


def _object(name: str) -> str:
    return name.partition(": ")[0]


def _is_fight(times: Sequence[float], now_s: float) -> bool:
    return sum(now_s - time < FIGHT_WITHIN_S for time in times) >= FIGHT_REPAIRS


def _degraded(step: Step, reason: str, message: str) -> Step:
    return msgspec.structs.replace(step, degraded=True, reason=reason, message=message)
