"""Whether the picture of rights is new enough to decide by. Stale is not forbidden: 503, never 403 (I6).

    UNSYNCED   a first list is not complete        nothing is decided
    FRESH      the server was heard of lately      everything is
    STALE      silence beyond stale_s              reads are; what changes something is not
    CUT_OFF    silence beyond cut_off_s            nothing is

Silence is measured on the reader's own monotonic clock: no two machines' clocks are compared.
Source: design §5.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

from edge_sdk.problem import Unavailable

STALE_S: Final = 0.75
CUT_OFF_S: Final = 300.0
READS: Final = frozenset({"get", "list", "watch", "head", "options"})


class State(Enum):
    UNSYNCED = "unsynced"
    FRESH = "fresh"
    STALE = "stale"
    CUT_OFF = "cut-off"


class Freshness:
    def __init__(
        self, silence_s: Callable[[], float | None], stale_s: float = STALE_S, cut_off_s: float = CUT_OFF_S
    ) -> None:
        """silence_s: longest time that the server of any watched kind was not heard of; None: unsynced."""
        self._silence_s = silence_s
        self._stale_s = stale_s
        self._cut_off_s = cut_off_s

    def state(self) -> State:
        silence = self._silence_s()
        if silence is None:
            return State.UNSYNCED
        if silence > self._cut_off_s:
            return State.CUT_OFF
        return State.STALE if silence > self._stale_s else State.FRESH

    def require(self, verb: str) -> None:
        """Raises Unavailable when a request with this verb must not be decided now."""
        state = self.state()
        if state is State.FRESH or (state is State.STALE and verb in READS):
            return
        why = {
            State.UNSYNCED: "roles and bindings have not been read yet",
            State.STALE: "roles and bindings may have changed since they were last heard of, and this "
            "request changes something",
            State.CUT_OFF: "the Kubernetes API has not been heard of for too long",
        }[state]
        raise Unavailable(
            "authorization-stale", what="The request was not decided", why=why, do="try again in a second"
        )
