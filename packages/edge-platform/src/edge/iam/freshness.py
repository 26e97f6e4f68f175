"""Whether the picture of rights is new enough to decide by. Stale is not forbidden: 503, never 403 (I6).

    UNSYNCED   a first list is not complete                  nothing is decided
    FRESH      all that was written lately has arrived       everything is
    STALE      that is not known                             reads are; what changes something is not
    CUT_OFF    the server was not heard of beyond cut_off_s  nothing is

Ages are measured on the reader's own monotonic clock: no two machines' clocks are compared.
Source: design §5.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from typing import Final

from edge_sdk.problem import Unavailable

STALE_S: Final = 0.75
CUT_OFF_S: Final = 300.0
QUIET_S: Final = 75.0
"""A watch brings a bookmark about once a minute; one that was silent for longer is worth telling of."""
READS: Final = frozenset({"get", "list", "watch", "head", "options"})


WAITED_MAX_S: Final = 3.0
_asked_at: ContextVar[float | None] = ContextVar("edge_iam_asked_at", default=None)


def asked_now() -> None:
    """Note, for the task that runs, that its question came in at this moment. What is proven to have been
    known then is new enough to answer it, however long the proof takes on a busy machine."""
    _asked_at.set(time.monotonic())


def is_new(proof_age_s: float, stale_s: float = STALE_S) -> bool:
    """Whether a proof of this age is good enough for the question that the running task answers."""
    return proof_age_s <= stale_s + _waited_s()


def _waited_s() -> float:
    asked_at = _asked_at.get()
    return 0.0 if asked_at is None else min(time.monotonic() - asked_at, WAITED_MAX_S)


class State(Enum):
    UNSYNCED = "unsynced"
    FRESH = "fresh"
    STALE = "stale"
    CUT_OFF = "cut-off"


class Freshness:
    def __init__(
        self,
        silence_s: Callable[[], float | None],
        proof_age_s: Callable[[], float] | None = None,
        *,
        stale_s: float = STALE_S,
        cut_off_s: float = CUT_OFF_S,
    ) -> None:
        """silence_s: longest time that the server of any watched kind was not heard of; None: unsynced.

        proof_age_s: how long ago it was proven that all that had been written has arrived. Without it, every
        sign of life of the server counts as that proof.
        """
        self._silence_s = silence_s
        self._proof_age_s = proof_age_s
        self._stale_s = stale_s
        self._cut_off_s = cut_off_s

    def state(self) -> State:
        silence = self._silence_s()
        if silence is None:
            return State.UNSYNCED
        if silence > self._cut_off_s:
            return State.CUT_OFF
        age = silence if self._proof_age_s is None else self._proof_age_s()
        return State.FRESH if is_new(age, self._stale_s) else State.STALE

    def quiet_s(self) -> float:
        """How long the server has not been heard of, when that is longer than usual; else 0."""
        silence = self._silence_s()
        return silence if silence is not None and silence > QUIET_S else 0.0

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
