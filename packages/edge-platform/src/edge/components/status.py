"""The status of a Component from what was seen and decided. Pure; times come in."""

from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from edge.components import reasons as why
from edge.components.effective import hash_label
from edge.components.failures import CLASSES, Failure, backoff_s
from edge.components.plan import Seen
from edge.components.ports import Inspection
from edge.components.recovery import DEPLOYED, newest
from edge.components.step import Step, retry_token
from edge.components.types import Component, ComponentStatus, DriftStatus, LastGood
from edge_kube.meta import Condition

BY_HAND_WAIT_S = 300.0
UNREACHABLE_WAIT_S = 15.0


def rfc3339(epoch_s: float) -> str:
    """With microseconds, so that two failures within one second are two."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def record(component: Component, failure: Failure | None, base_s: float) -> ComponentStatus:
    """The status with a failed attempt counted once; one that is in it already changes nothing (K5)."""
    status = component.status
    at = rfc3339(failure.at_s) if failure else ""
    if failure is None or status.last_failure_time == at:
        return status
    kind = CLASSES[failure.kind]
    again = status.failed_hash == failure.hash and failure.token == status.retry_token
    count = (status.retry_count or 0) if again else 0
    count += kind.counts
    if failure.kind == "Ownership":
        wait_s = BY_HAND_WAIT_S
    else:
        wait_s = backoff_s(count, base_s) if kind.counts else UNREACHABLE_WAIT_S
    message = f"{failure.verb.capitalize()} failed: {failure.message} {kind.advice}"
    conditions = tuple(c for c in status.conditions if c.type not in ("Ready", "InstalledByHand"))
    conditions += (Condition(type="Ready", status="False", reason=failure.kind, message=message),)
    if failure.kind == "Ownership":
        conditions += (
            Condition(type="InstalledByHand", status="True", reason=why.INSTALLED_BY_HAND, message=message),
        )
    return msgspec.structs.replace(
        status,
        failed_hash=failure.hash or status.failed_hash,
        retry_count=count,
        last_failure_time=at,
        next_retry_time=rfc3339(failure.at_s + wait_s) if kind.retries else UNSET,
        message=message,
        retry_token=failure.token,
        conditions=conditions,
    )


def unhealthy_failure(component: Component, seen: Seen) -> Failure:
    """An upgrade that Helm carried out, and whose workloads did not get ready in time, has failed as well."""
    detail = "; ".join(seen.unhealthy[:5])
    return Failure(
        kind="NotHealthy",
        message=f"not ready {seen.timeout_s:.0f} s after it: {detail}.",
        verb="upgrade",
        hash=seen.desired,
        at_s=seen.now_s,
        token=retry_token(component),
    )


def status_of(component: Component, seen: Seen, step: Step, inspection: Inspection | None) -> ComponentStatus:
    """component.status has the failures of `record` in it; what the step does not speak of is kept."""
    old = component.status
    current = newest(seen.history)
    status = msgspec.structs.replace(
        old,
        phase=step.phase,
        message=step.message,
        release_name=seen.release.name,
        release_version=current.number if current else UNSET,
        observed_hash=_observed_hash(old, seen, step),
        last_transition_time=rfc3339(seen.now_s)
        if old.phase != step.phase or not old.last_transition_time
        else old.last_transition_time,
        waiting_for=seen.dependencies.waiting_for,
        conditions=_conditions(seen, step, inspection),
    )
    if seen.chart is not None:
        status = msgspec.structs.replace(status, chart=seen.chart)
    if inspection is not None and not step.is_removed:
        status = msgspec.structs.replace(status, drift=_drift(old, inspection))
    if step.is_good and current is not None:
        good = LastGood(
            hash=seen.desired, revision=current.number, chart_version=seen.chart.version if seen.chart else ""
        )
        status = msgspec.structs.replace(status, last_good=good)
    return _without_failures(status) if step.is_good or step.is_removed else status


def _observed_hash(status: ComponentStatus, seen: Seen, step: Step) -> str:
    """What is installed: known by the label of the deployed revision, which survives our own death."""
    if step.is_removed:
        return ""
    current, old = newest(seen.history), status.observed_hash
    if current is None:
        return ""
    if current.status != DEPLOYED or step.by_hand:
        return old
    good = status.last_good.hash if status.last_good else ""
    for full in (seen.desired, old, good):  # the label is short; one of those seen before is meant
        if full and hash_label(full) == current.hash:
            return full
    return current.hash or old


def _without_failures(status: ComponentStatus) -> ComponentStatus:
    return msgspec.structs.replace(
        status,
        failed_hash="",
        retry_token="",
        retry_count=0,
        next_retry_time=UNSET,
        last_good=status.last_good if status.observed_hash else UNSET,
        chart=status.chart if status.observed_hash else UNSET,
        drift=status.drift if status.observed_hash else UNSET,
    )


def _drift(old: ComponentStatus, inspection: Inspection) -> DriftStatus | UnsetType:
    drift = msgspec.structs.replace(old.drift or DriftStatus(), kept=inspection.kept)
    return drift if drift != DriftStatus() else UNSET


def _conditions(seen: Seen, step: Step, inspection: Inspection | None) -> tuple[Condition, ...]:
    def of(type_: str, *, is_true: bool, reason: str = "", message: str = "") -> Condition:
        return Condition(
            type=type_, status="True" if is_true else "False", reason=reason or step.reason, message=message
        )

    needs = seen.dependencies
    waiting = why.WAITING_FOR_DEPENDENCIES if needs.waiting_for else step.reason
    conditions = [
        of("Ready", is_true=step.ready, message=step.message),
        of("Progressing", is_true=step.progressing, message=step.message if step.progressing else ""),
        of("Degraded", is_true=step.degraded, message=step.message if step.degraded else ""),
        of("Stalled", is_true=step.stalled, message=step.message if step.stalled else ""),
        of(
            "DependenciesReady",
            is_true=needs.is_ready,
            reason=why.DEPENDENCIES_READY if needs.is_ready else waiting,
            message="" if needs.is_ready else (", ".join(needs.waiting_for) or step.message),
        ),
    ]
    if step.by_hand:
        conditions.append(of("InstalledByHand", is_true=True, message=step.message))
    if inspection is not None and inspection.kept:
        kept = "; ".join(inspection.kept)
        message = (
            f"People changed these fields, and they are kept: {kept}. A change of spec.values sets them anew."
        )
        conditions.append(of("EditsKept", is_true=True, reason=why.EDITS_KEPT, message=message))
    return tuple(conditions)
