"""Whether a member cluster is worth asking: closed (yes), open (no, fail at once), and how it gets back.

Pure but for an injected clock. Opens after five transport failures in a row, or when traffic had no success
for ten seconds; any HTTP answer below 500 is a sign of life. It closes again on the first success, which
only a probe can bring while it is open.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar

from edge_kube.errors import ClusterUnavailable

FAILURES_MAX = 5
SILENCE_S_MAX = 10.0

_probing: ContextVar[bool] = ContextVar("edge_kube_probing", default=False)


class Breaker:
    """The `Guard` of a member's transport. on_change: called with the new state of `is_open`."""

    def __init__(
        self,
        cluster: str,
        *,
        on_change: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._on_change = on_change
        self._clock = clock
        self._failures = 0
        self._failing_since: float | None = None
        self._why = ""
        self.is_open = False
        self.last_success_at: float | None = None

    def check(self) -> None:
        """Raises ClusterUnavailable while open, except in the task of a probe."""
        if self.is_open and not _probing.get():
            raise ClusterUnavailable(self._cluster, self._why)

    def succeeded(self) -> None:
        self._failures = 0
        self._failing_since = None
        self.last_success_at = self._clock()
        if self.is_open:
            self.is_open = False
            self._on_change(False)

    def failed(self, error: BaseException) -> None:
        now = self._clock()
        self._failures += 1
        self._failing_since = now if self._failing_since is None else self._failing_since
        self._why = str(error)
        if self.is_open:
            return
        if self._failures >= FAILURES_MAX or now - self._failing_since >= SILENCE_S_MAX:
            self.trip(self._why)

    def trip(self, why: str) -> None:
        """Open at once."""
        self._why = why
        if not self.is_open:
            self.is_open = True
            self._on_change(True)

    @property
    def why(self) -> str:
        """The last failure, for a condition's message."""
        return self._why


def mark_as_probe() -> None:
    """Let the requests of the running task pass an open breaker."""
    _probing.set(True)
