"""Conditions: merge by type, read, and keep `lastTransitionTime` honest. Pure."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from edge_kube.meta import Condition

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_MESSAGE_MAX = 32_768  # limit of metav1.Condition


def condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    return next((have for have in conditions if have.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    have = condition(conditions, type_)
    return have is not None and have.status == "True"


def rfc3339(epoch_s: float) -> str:
    """Whole seconds in UTC, as the API server writes times."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_condition(have: Sequence[Condition], want: Condition, now: str = "") -> tuple[Condition, ...]:
    """Put `want` in place of the condition of its type; all other types stay.

    lastTransitionTime moves only when `status` changes (P6). now: RFC 3339; empty leaves the time to the
    runtime, which fills it when the status is written. Raises ValueError for a reason that the API refuses.
    """
    if _REASON.fullmatch(want.reason) is None:
        raise ValueError(
            f'reason of condition {want.type} is "{want.reason}"; use a CamelCase word such as "NotReady"'
        )
    before = condition(have, want.type)
    moved = before is None or before.status != want.status
    time = (want.last_transition_time or now) if before is None or moved else before.last_transition_time
    merged = msgspec.structs.replace(want, last_transition_time=time, message=want.message[:_MESSAGE_MAX])
    if before is None:
        return (*have, merged)
    return tuple(merged if item.type == want.type else item for item in have)


def stamp(
    wanted: Sequence[Condition], have: Sequence[Condition], generation: int, now: str
) -> tuple[Condition, ...]:
    """Complete the conditions of a status to be written: generation that was read, time of last change."""
    return tuple(_stamped(item, condition(have, item.type), generation, now) for item in wanted)


def _stamped(want: Condition, before: Condition | None, generation: int, now: str) -> Condition:
    same = before is not None and before.status == want.status and before.last_transition_time
    return msgspec.structs.replace(
        want,
        observed_generation=want.observed_generation or generation,
        last_transition_time=before.last_transition_time if before and same else now,
        message=want.message[:_MESSAGE_MAX],
    )
