"""What the status of a ReverseProxy says. Pure; equal input gives equal plans.

Of two objects that answer the same path, the older is Active; the younger waits in Conflict, and becomes
Active when the older goes. Source: G5; design authorization-and-gateway §8.6.
"""

from collections.abc import Iterable

from edge.operate.matching import Match, in_force, match_of, place_of
from edge.operate.rules import wrong_with
from edge.operate.types import ReverseProxy, ReverseProxyStatus

ACTIVE = "Active"
CONFLICT = "Conflict"
INVALID = "Invalid"


def plan_status(proxy: ReverseProxy, others: Iterable[ReverseProxy], now: str) -> ReverseProxyStatus:
    """others: the objects with the same path; the object itself may be among them. now: RFC 3339, UTC."""
    state, message = _judged(proxy, others)
    before = proxy.status
    changed = (before.state, before.message) != (state, message) or not before.last_update_time
    return ReverseProxyStatus(
        state=state,
        message=message,
        last_update_time=now if changed else before.last_update_time,
    )


def _judged(proxy: ReverseProxy, others: Iterable[ReverseProxy]) -> tuple[str, str]:
    wrong = wrong_with(proxy.spec)
    match = match_of(proxy)
    if wrong or match is None:
        return INVALID, f"Nothing is served: {'; '.join(str(one) for one in wrong) or 'it is being deleted'}."
    all_of_it = {place_of(one): one for one in (*others, proxy)}
    known = [(one, found) for one in all_of_it.values() if (found := usable_match(one)) is not None]
    for other, found in in_force(known):
        if place_of(other) == place_of(proxy):
            return ACTIVE, _hint(proxy)
        if found.collides(match):
            return CONFLICT, (
                f"Nothing is served: the older {place_of(other)} answers {other.spec.matcher.path} already. "
                "Choose another path or method, or delete that one."
            )
    return INVALID, "Nothing is served."


def usable_match(proxy: ReverseProxy) -> Match | None:
    """Its match, None when the object cannot be carried out: such a one is in nobody's way."""
    match = match_of(proxy)
    return None if match is None or wrong_with(proxy.spec) else match


def _hint(proxy: ReverseProxy) -> str:
    upstream = proxy.spec.upstream
    if upstream.scheme == "https" and upstream.insecure_skip_verify is True:
        return (
            "The certificate of the upstream is not checked, so whoever sits between may read and change all "
            "that passes. Give its authority in caBundle instead of insecureSkipVerify."
        )
    return ""
