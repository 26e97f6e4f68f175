"""What a Component needs next. Pure: equal input gives an equal plan; the clock comes in as `now_s`.

The plan names at most one Helm call; the reconciler carries it out and comes back. Reasons are constants of
`reasons`, texts say what happened, on which object, and what to do (K2, K4, K5, R14, X70).
"""

from collections.abc import Sequence
from datetime import datetime

from edge.components import reasons as why
from edge.components.effective import Release, hash_label
from edge.components.failures import CLASSES, Failure, backoff_s
from edge.components.graph import Dependencies, cycle_text
from edge.components.recovery import DEPLOYED, FAILED, Revision, last_good, newest, recover
from edge.components.step import Step, retry_token
from edge.components.types import Component, ComponentSpec, ComponentStatus, ResolvedChart
from edge_kube.meta import Key, Model

UNHEALTHY_AGAIN_S = 5.0
LOCK_AGAIN_S = 5.0
UNREACHABLE_AGAIN_S = 15.0
BY_HAND_AGAIN_S = 300.0
REINSTALL_AFTER = 3


class Trouble(Model):
    """Something could not be looked up before the plan: the chart, values, or the target."""

    reason: str
    message: str
    again_in_s: float = 30.0


class Seen(Model):
    """Everything the plan may know. desired: full hash of the effective spec, "" while it is not known."""

    release: Release
    mark: str
    now_s: float
    history: Sequence[Revision] = ()
    desired: str = ""
    chart: ResolvedChart | None = None
    trouble: Trouble | None = None
    dependencies: Dependencies = Dependencies()
    dependents: tuple[Key, ...] = ()
    holder: str = ""
    taken_by: str = ""
    foreign_chart: str = ""
    """Chart of a release that is not ours; looked up only where it may be adopted."""
    unhealthy: tuple[str, ...] = ()
    timeout_s: float = 300.0
    failure: Failure | None = None
    backoff_base_s: float = 10.0


def plan_component(component: Component, seen: Seen) -> Step:
    """The next step; the caller has recorded `seen.failure` in `component.status` (see `status.record`)."""
    if component.metadata.deletion_timestamp or not component.spec.enabled:
        return _removal(component, seen)
    if component.spec.suspend:
        return Step(
            phase="Suspended",
            reason=why.SUSPENDED,
            message="spec.suspend is true; nothing is changed.",
            ready=_was_ready(component),
        )
    if seen.taken_by:
        return _blocked(
            why.RELEASE_NAME_TAKEN,
            f"Release {seen.release} belongs to Component {seen.taken_by}, which is older. "
            "Choose another spec.chart.releaseName.",
        )
    if seen.dependencies.cycle:
        text = cycle_text(seen.dependencies.cycle)
        return _blocked(
            why.DEPENDENCY_CYCLE,
            f"{text} need each other, so none of them is installed. Take one of these out of "
            "spec.dependencies.",
        )
    return _interrupted(seen) or _by_hand(component, seen) or _forward(component, seen)


def _locked(seen: Seen, phase: str) -> Step:
    """Another living process works on the release."""
    return Step(
        phase=phase,
        reason=why.RELEASE_LOCKED,
        progressing=True,
        after_s=LOCK_AGAIN_S,
        message=f"{seen.holder} is working on release {seen.release}; it is waited for.",
    )


def _interrupted(seen: Seen) -> Step | None:
    """A process was cut off in the middle of a release: bring it to a state Helm goes on from."""
    recovery = recover(seen.history)
    current = newest(seen.history)
    if not recovery.interrupted or current is None:
        return None
    if seen.holder:
        return _locked(seen, "Pending")
    if _waits_after_failure(seen):
        return Step(
            phase="Failed",
            reason=why.RECOVERY_FAILED,
            message=_text(seen.failure),
            degraded=True,
            after_s=UNREACHABLE_AGAIN_S,
        )
    what = f"Release {seen.release} was left {current.status} by a process that was cut off"
    if recovery.verb == "rollback":
        return Step(
            verb="rollback",
            revision=recovery.to,
            phase="RollingBack",
            reason=why.RECOVERING,
            progressing=True,
            message=f"{what}; it returns to revision {recovery.to}.",
        )
    return Step(
        verb="uninstall",
        phase="Uninstalling",
        reason=why.RECOVERING,
        progressing=True,
        message=f"{what}; it is removed and, if wanted, installed anew.",
    )


def _by_hand(component: Component, seen: Seen) -> Step | None:
    """A release that is not ours is left alone, unless it was asked that we take it over (R14, X70)."""
    current = newest(seen.history)
    if current is None or current.status == "uninstalled" or is_ours(component, seen):
        return None
    wanted = component.spec.chart.name or component.metadata.name
    if component.spec.adopt != "Never" and seen.foreign_chart == wanted:
        return None
    adopt = (
        f"it is of chart {seen.foreign_chart}, not {wanted}, so it is not taken over; choose another "
        "spec.chart.releaseName."
        if component.spec.adopt != "Never" and seen.foreign_chart
        else "it was installed by hand and is left alone. Set spec.adopt to Auto to have it looked after."
    )
    return Step(
        phase="InstalledByHand",
        reason=why.INSTALLED_BY_HAND,
        message=f"Release {seen.release}: {adopt}",
        ready=current.status == DEPLOYED,
        by_hand=True,
        after_s=BY_HAND_AGAIN_S,
    )


def _forward(component: Component, seen: Seen) -> Step:
    current = newest(seen.history)
    installed = current is not None and current.status != "uninstalled"
    if seen.trouble is not None or not seen.desired:
        return _trouble(component, seen, installed=installed)
    if current is not None and current.status == DEPLOYED and current.hash == hash_label(seen.desired):
        return _deployed(component, seen)
    if current is not None and current.status == FAILED and (step := _failed_release(component, seen)):
        return step
    return _waits_for_dependencies(seen) or _attempt(component, seen, installed=installed)


def _trouble(component: Component, seen: Seen, *, installed: bool) -> Step:
    trouble = seen.trouble or Trouble(reason=why.PENDING, message="The effective spec is not known yet.")
    healthy = installed and _was_ready(component) and trouble.reason == why.CHART_UNAVAILABLE
    return Step(
        phase="Running" if healthy else "Pending",
        reason=trouble.reason,
        message=trouble.message,
        ready=healthy,
        degraded=installed,
        after_s=trouble.again_in_s,
    )


def _waits_for_dependencies(seen: Seen) -> Step | None:
    needs = seen.dependencies
    if needs.is_ready:
        return None
    if needs.missing:
        names = ", ".join(map(str, needs.missing))
        message = f"Component {names} does not exist. Create it, or take it out of spec.dependencies."
        return _blocked(why.DEPENDENCY_MISSING, message)
    if needs.unmet:
        message = f"It needs {'; '.join(needs.unmet)}. Install a version that fits."
        return _blocked(why.DEPENDENCY_VERSION, message)
    message = f"It waits for {', '.join(needs.waiting_for)} to be Ready."
    return Step(phase="Pending", reason=why.WAITING_FOR_DEPENDENCIES, message=message, progressing=True)


def _attempt(component: Component, seen: Seen, *, installed: bool) -> Step:
    """Install or upgrade, unless the same failed before and it is not time yet."""
    status, spec = component.status, component.spec
    if status.failed_hash == seen.desired and retry_token(component) == status.retry_token:
        current = newest(seen.history)
        rolled_back = current is not None and current.status == DEPLOYED
        held = _held_back(status, spec, seen.now_s, rolled_back=rolled_back)
        if held is not None:
            return held
    phase = "Upgrading" if installed else "Installing"
    chart = f"{seen.chart.name} {seen.chart.version}" if seen.chart else ""
    return Step(
        verb="upgrade",
        phase=phase,
        reason=phase,
        progressing=True,
        message=f"Chart {chart} is being installed as release {seen.release}.",
    )


def _held_back(
    status: ComponentStatus, spec: ComponentSpec, now_s: float, *, rolled_back: bool
) -> Step | None:
    count = status.retry_count or 0
    by_hand = next((c for c in status.conditions if c.type == "InstalledByHand" and c.status == "True"), None)
    wait_s = _until(status.next_retry_time or "", now_s)
    if by_hand is not None and wait_s > 0:
        return Step(
            phase="InstalledByHand",
            reason=why.INSTALLED_BY_HAND,
            message=status.message,
            ready=True,
            by_hand=True,
            after_s=wait_s,
        )
    reason = (
        why.ROLLED_BACK
        if rolled_back
        else next(
            (c.reason for c in status.conditions if c.type == "Ready" and c.reason in CLASSES), why.FAILED
        )
    )
    if not status.next_retry_time or count >= spec.max_retries:
        return Step(phase="Failed", reason=reason, message=status.message, degraded=rolled_back, stalled=True)
    if wait_s > 0:
        return Step(
            phase="Failed",
            reason=reason,
            message=status.message,
            degraded=rolled_back,
            progressing=True,
            after_s=wait_s,
        )
    return None


def _failed_release(component: Component, seen: Seen) -> Step | None:
    """The newest revision failed: return to the last good one, or, without one, start over from the third."""
    status, spec = component.status, component.spec
    good = last_good(seen.history)
    count = status.retry_count or 0
    if (
        good is not None
        and spec.rollback.enabled
        and (count >= spec.rollback.after or not status.failed_hash)
    ):
        if _waits_after_failure(seen):
            return Step(
                phase="Failed",
                reason=why.ROLLBACK_FAILED,
                message=status.message,
                degraded=True,
                stalled=count >= spec.max_retries,
                after_s=_until(status.next_retry_time or "", seen.now_s) or None,
            )
        return Step(
            verb="rollback",
            revision=good.number,
            phase="RollingBack",
            reason=why.ROLLING_BACK,
            progressing=True,
            message=f"{_cause(status)} Returning to revision {good.number}.",
        )
    if (
        good is None
        and count >= REINSTALL_AFTER
        and count < spec.max_retries
        and status.failed_hash == seen.desired
    ):
        held = _held_back(status, spec, seen.now_s, rolled_back=False)
        return held or Step(
            verb="uninstall",
            phase="Uninstalling",
            reason=why.RECOVERING,
            progressing=True,
            message=f"{status.message} It is removed and installed anew; volumes of StatefulSets stay.",
        )
    return None


def _deployed(component: Component, seen: Seen) -> Step:
    current = newest(seen.history)
    assert current is not None  # noqa: S101 for the type checker: _forward has looked
    if not seen.unhealthy:
        return Step(
            phase="Running",
            reason=why.INSTALLED,
            ready=True,
            is_good=True,
            message=f"Release {seen.release} is at revision {current.number}.",
        )
    detail = "; ".join(seen.unhealthy[:5])
    last = component.status.last_good
    was_good = bool(last and last.hash == seen.desired)
    late = seen.now_s - current.modified_at_s > seen.timeout_s
    if (
        late
        and not was_good
        and last
        and component.spec.rollback.enabled
        and _has(seen.history, last.revision)
    ):
        return Step(
            verb="rollback",
            revision=last.revision,
            phase="RollingBack",
            reason=why.ROLLING_BACK,
            progressing=True,
            unhealthy=True,
            message=f"Not ready {seen.timeout_s:.0f} s after the upgrade: {detail}. Returning to revision "
            f"{last.revision}.",
        )
    if was_good or late:
        return Step(
            phase="Running",
            reason=why.WORKLOADS_NOT_READY,
            message=f"Not ready: {detail}.",
            degraded=True,
            after_s=UNHEALTHY_AGAIN_S,
        )
    return Step(
        phase="Upgrading" if last else "Installing",
        reason=why.WORKLOADS_STARTING,
        message=f"Waiting for {detail}.",
        progressing=True,
        after_s=UNHEALTHY_AGAIN_S,
    )


def _removal(component: Component, seen: Seen) -> Step:
    """Uninstall, verify, done; dependents that are installed go first."""
    deleted = bool(component.metadata.deletion_timestamp)
    current = newest(seen.history)
    gone = current is None or current.status == "uninstalled"
    if seen.taken_by or gone or not is_ours(component, seen):
        if deleted:
            return Step(verb="finish", phase="Uninstalling", reason=why.UNINSTALLED, message="")
        left = "" if gone else f" Release {seen.release} was installed by hand and is left alone."
        return Step(
            phase="Disabled", reason=why.DISABLED, message=f"spec.enabled is false.{left}", is_removed=True
        )
    if seen.trouble is not None:
        return Step(
            phase="Uninstalling",
            reason=seen.trouble.reason,
            message=seen.trouble.message,
            progressing=True,
            after_s=seen.trouble.again_in_s,
        )
    if seen.dependents:
        names = ", ".join(map(str, seen.dependents))
        return Step(
            phase="Uninstalling",
            reason=why.HAS_DEPENDENTS,
            progressing=True,
            ready=not deleted,
            message=f"{names} still need it; it goes when they are gone or disabled.",
        )
    if seen.holder:
        return _locked(seen, "Uninstalling")
    if _waits_after_failure(seen):
        return Step(
            phase="Uninstalling",
            reason=why.UNINSTALL_FAILED,
            message=_text(seen.failure),
            degraded=True,
            after_s=UNREACHABLE_AGAIN_S,
        )
    return Step(
        verb="uninstall",
        phase="Uninstalling",
        reason=why.UNINSTALLING,
        progressing=True,
        message=f"Release {seen.release} is being removed.",
    )


def is_ours(component: Component, seen: Seen) -> bool:
    """Marked by us, or known from before its marks were lost (a restore of the release's Secrets)."""
    status = component.status
    known = bool(status.observed_hash or status.failed_hash) and status.release_name == seen.release.name
    return known or any(revision.mark == seen.mark for revision in seen.history)


def _blocked(reason: str, message: str) -> Step:
    return Step(phase="Blocked", reason=reason, message=message, stalled=True)


def _was_ready(component: Component) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in component.status.conditions)


def _waits_after_failure(seen: Seen) -> bool:
    """Whether the last rollback or uninstall failed so recently that it is not tried again yet."""
    failure = seen.failure
    if failure is None or failure.verb == "upgrade":
        return False
    wait_s = backoff_s(2 if CLASSES[failure.kind].counts else 1, seen.backoff_base_s)
    return seen.now_s < failure.at_s + wait_s


def _text(failure: Failure | None) -> str:
    return f"{failure.message} {CLASSES[failure.kind].advice}" if failure else ""


def _cause(status: ComponentStatus) -> str:
    """Why it failed, without what an earlier step said of the way back."""
    return status.message.partition(" Returning to revision")[0] or "The upgrade failed."


def _has(history: Sequence[Revision], number: int) -> bool:
    return any(revision.number == number for revision in history)


def _until(time: str, now_s: float) -> float:
    return max(datetime.fromisoformat(time).timestamp() - now_s, 0.0) if time else 0.0
