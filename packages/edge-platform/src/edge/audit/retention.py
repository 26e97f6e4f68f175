"""How long segments stay, and when a full volume stops changes. Pure (O6, O7; design §4.3)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edge.audit.folder import Segment

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Limits:
    """keep_s: how long a record stays. floor_s: how long it stays even when the volume is full.

    refuse_ratio: share of the volume in use from which changes are refused, unless enough_free_bytes
    are free.
    """

    keep_s: float = 365 * DAY_S
    floor_s: float = 30 * DAY_S
    segment_bytes: int = 64 * 2**20
    segment_s: float = DAY_S
    refuse_ratio: float = 0.95
    enough_free_bytes: int = 2**30

    def age_max_s(self, *, full: bool) -> float:
        return self.floor_s if full else self.keep_s


def plan_retention(segments: Iterable[tuple[Segment, float]], limits: Limits, *, full: bool) -> list[Segment]:
    """Closed segments that go: (segment, age of its newest record in s). Only ever the oldest of a chain."""
    limit_s = limits.age_max_s(full=full)
    gone: list[Segment] = []
    held: set[str] = set()
    for segment, age_s in sorted(segments):
        if age_s <= limit_s:
            held.add(segment.chain)
        elif segment.chain not in held:
            gone.append(segment)
    return gone
