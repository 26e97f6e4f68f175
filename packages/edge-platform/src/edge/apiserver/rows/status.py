"""One state for people out of conditions and phases: Ready, Progressing, Failed, Offline … Pure.

    status_of(obj) → ["Degraded", "NodesMissing", "2 of 3 nodes answer", 1763800000, "SeeEvents"]

States are those of the console's vocabulary (console §9.4). What no rule maps is Unknown, with the raw words.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from edge.apiserver.masking import Json, as_map

Status = list[str | int | None]
"""[state, reason, message, since (epoch seconds or None), code of the next step or ""]"""

_WORDS: Final[Mapping[str, str]] = {
    "Ready": "ready active running succeeded bound available approved published enabled complete completed "
    "healthy synced deployed normal registered",
    "Progressing": "progressing provisioning creating installing upgrading rollingback updating syncing "
    "containercreating podinitializing released",
    "Pending": "pending waiting empty draft deferred new",
    "AwaitingApproval": "submitted inreview awaitingapproval",
    "Degraded": "degraded warning installedbyhand conflict",
    "Failed": "failed error invalid crashloopbackoff imagepullbackoff errimagepull createcontainererror "
    "createcontainerconfigerror invalidimagename lost oomkilled",
    "Offline": "offline unreachable disconnected",
    "Paused": "paused suspended withdrawn",
    "Maintenance": "maintenance cordoned draining",
    "Deleting": "deleting terminating uninstalling",
    "Blocked": "blocked disabled locked rejected evicted",
}
_STATES: Final[Mapping[str, str]] = {word: state for state, words in _WORDS.items() for word in words.split()}
_NEXT: Final[Mapping[str, str]] = {
    "Pending": "SeeWaitingFor",
    "AwaitingApproval": "AskReviewer",
    "Degraded": "SeeFailingPart",
    "Failed": "SeeCause",
    "Offline": "CheckConnection",
    "Paused": "Resume",
    "Maintenance": "EndMaintenance",
    "Deleting": "SeeFinalizers",
    "Blocked": "SeeRule",
    "Unknown": "SeeEvents",
}
_PHASES: Final = ("reviewPhase", "phase", "state", "syncStatus")
_MAIN: Final = ("Ready", "Available", "Complete", "Failed", "Established")
_MESSAGE_MAX: Final = 300
NOTHING: Final[Json] = {}


def status_of(obj: Json) -> Status:
    metadata, spec, status = (as_map(obj.get(part)) for part in ("metadata", "spec", "status"))
    deleted = metadata.get("deletionTimestamp")
    if deleted:
        left = ", ".join(map(str, metadata.get("finalizers") or ()))
        return _made("Deleting", "Finalizers" if left else "", left, unix(deleted))
    conditions = _conditions(status)
    main = next((conditions[name] for name in _MAIN if name in conditions), NOTHING)
    phase = next((word for name in _PHASES if isinstance(word := status.get(name), str) and word), "")
    state, reason = _state(obj, spec, status, phase, main)
    about = main if main and (state != "Ready" or main.get("status") == "True") else NOTHING
    reason = reason or _text(about.get("reason")) or _text(status.get("reason"))
    message = _text(about.get("message")) or _text(status.get("message") or status.get("reviewMessage"))
    since = unix(about.get("lastTransitionTime") or main.get("lastTransitionTime"))
    if state == "Ready":
        reason = message = ""
    elif not reason:
        reason = phase if phase != state else ""
    return _made(state, reason, message, since)


def _state(obj: Json, spec: Json, status: Json, phase: str, main: Json) -> tuple[str, str]:
    """The state, and a reason that says more than the conditions do."""
    by_pod = _of_pod(status)
    if by_pod:
        return "Failed", by_pod
    if spec.get("unschedulable") is True and main.get("status") == "True":
        return "Maintenance", "Cordoned"
    if spec.get("paused") is True or spec.get("suspend") is True:
        return "Paused", "Paused"
    by_phase = _STATES.get(re.sub(r"[^a-z]", "", phase.lower()), "")
    moving = _is_moving(obj, status)
    if by_phase and by_phase != "Ready":
        return by_phase, ""
    if not main:
        by_count = _of_replicas(spec, status)
        return by_phase or by_count or "Unknown", ""
    return _of_condition(main, moving=moving, by_phase=by_phase, by_count=_of_replicas(spec, status)), ""


def _of_condition(main: Json, *, moving: bool, by_phase: str, by_count: str) -> str:
    truth, about = main.get("status"), main.get("type")
    if about == "Failed":
        return "Failed" if truth == "True" else by_phase or by_count or "Ready"
    if truth == "True":
        return "Progressing" if moving else by_count or by_phase or "Ready"
    if truth == "Unknown":
        return "Offline" if about == "Ready" else "Unknown"
    if moving or main.get("reason") in ("Progressing", "Creating", "ContainersNotReady"):
        return "Progressing"
    reason = _STATES.get(re.sub(r"[^a-z]", "", _text(main.get("reason")).lower()), "")
    return reason if reason not in ("", "Ready") else "Degraded"


def _of_pod(status: Json) -> str:
    """Why a container does not run, when it will not by itself."""
    for one in cast("list[Any]", status.get("containerStatuses") or []):
        reason = _text(as_map(as_map(as_map(one).get("state")).get("waiting")).get("reason"))
        if _STATES.get(reason.lower()) == "Failed":
            return reason
    return ""


def _of_replicas(spec: Json, status: Json) -> str:
    wanted = spec.get("replicas", status.get("desiredNumberScheduled"))
    if not isinstance(wanted, int):
        return ""
    ready = status.get("readyReplicas", status.get("numberReady")) or 0
    return "Ready" if ready >= wanted else "Progressing"


def _is_moving(obj: Json, status: Json) -> bool:
    seen, wanted = status.get("observedGeneration"), as_map(obj.get("metadata")).get("generation")
    return isinstance(seen, int) and isinstance(wanted, int) and seen < wanted


def _conditions(status: Json) -> dict[str, Json]:
    found = status.get("conditions")
    listed = cast("list[Any]", found) if isinstance(found, list) else []
    return {_text(one.get("type")): one for one in map(as_map, listed)}


def _made(state: str, reason: str, message: str, since: int | None) -> Status:
    return [state, reason, message[:_MESSAGE_MAX], since, _NEXT.get(state, "")]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def unix(value: Any) -> int | None:
    """Epoch seconds of an RFC 3339 time; None for what is none."""
    if not isinstance(value, str) or not value:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
