"""Which ScopePatterns are in force, and what their status says. Pure; equal input gives equal plans.

Of two patterns that match the same path, neither narrower than the other, the older is in force; the younger
waits, and is registered when the older goes. Source: I9; design authorization-and-gateway §8.6.
"""

from collections.abc import Hashable, Iterable
from typing import Final

from msgspec import structs

from edge.iam.patterns import Pattern, PatternError, ambiguous, parse_pattern
from edge.iam.types import ScopePattern, ScopePatternStatus
from edge_kube.conditions import condition
from edge_kube.meta import Condition, ObjectMeta

READY: Final = "Ready"


def owner_of(meta: ObjectMeta) -> str:
    return f"{meta.namespace}/{meta.name}"


def pattern_of(obj: ScopePattern) -> Pattern | None:
    """The pattern of an object that could be in force; None for a bad one, and for one that is going."""
    if obj.metadata.deletion_timestamp:
        return None
    try:
        return parse_pattern(obj.spec.pattern, obj.spec.scope_type)
    except PatternError:
        return None


def is_registered(obj: ScopePattern) -> bool:
    """Whether the controller has put this very spec in force."""
    ready = condition(obj.status.conditions, READY)
    judged = ready is not None and ready.observed_generation == obj.metadata.generation
    return judged and obj.status.registered is True


def resource_of(obj: ScopePattern) -> tuple[Hashable, ...]:
    """What a pattern is about, for an index: only patterns of one resource can be in each other's way."""
    pattern = pattern_of(obj)
    return ((pattern.group, pattern.resource),) if pattern is not None else ()


def plan_status(obj: ScopePattern, others: Iterable[ScopePattern]) -> ScopePatternStatus:
    """others: the patterns of the same resource; the object itself may be among them.

    What the gateways count (lastUsed, matchCount) is not this plan's and stays empty in it.
    """
    try:
        pattern = parse_pattern(obj.spec.pattern, obj.spec.scope_type)
    except PatternError as error:
        why = f"{error.field}: {error}. Accepted: {error.accepted}."
        return _status(obj, "BadPattern", f"The pattern registers nothing. {why}")
    rival = _rival(obj, pattern, others)
    if rival is not None:
        whose = f"{owner_of(rival.metadata)} ({rival.spec.pattern})"
        return _status(
            obj, "Ambiguous",
            f"The pattern registers nothing: a path can match it and the older pattern {whose}, and neither "
            "of the two is narrower. Make one of them narrower, or delete the other.",
        )  # fmt: skip
    return _status(obj, "Registered", "")


def _rival(obj: ScopePattern, pattern: Pattern, others: Iterable[ScopePattern]) -> ScopePattern | None:
    """The older pattern in force that the object collides with."""
    in_force: list[tuple[ScopePattern, Pattern]] = []
    mine = _age(obj)
    for other in sorted((one for one in others if _age(one) < mine), key=_age):
        theirs = pattern_of(other)
        if theirs is not None and not any(ambiguous(theirs, one) for _, one in in_force):
            in_force.append((other, theirs))
    return next((other for other, theirs in in_force if ambiguous(pattern, theirs)), None)


def _age(obj: ScopePattern) -> tuple[str, bool, str]:
    """Times are whole seconds: of two made in the same one, that which is in force stays in force."""
    return obj.metadata.creation_timestamp, not is_registered(obj), owner_of(obj.metadata)


def _status(obj: ScopePattern, reason: str, message: str) -> ScopePatternStatus:
    registered = reason == "Registered"
    ready = Condition(
        type=READY,
        status="True" if registered else "False",
        reason=reason,
        message=message,
        observed_generation=obj.metadata.generation,
    )
    return structs.replace(ScopePatternStatus(), registered=registered, message=message, conditions=(ready,))
