"""What the last verification of a store found, and when the next one is due. Pure, but for its small file."""

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from edge.audit.chain import Broken
from edge.audit.verify import Report

FILE: Final = "verification.json"
AGAIN_S: Final = 3600.0
"""After one that did not come to an end."""


class Verdict(msgspec.Struct, kw_only=True):
    """The last verification of one store that came to an end; `began` is 0 while there was none.

    store: who keeps the records. began, ended: ms since 1970. tried, trouble: of the last one that did not
    come to an end, and why. next: when it is verified again; 0: never.
    """

    store: str
    began: int = 0
    ended: int = 0
    chains: int = 0
    segments: int = 0
    records: int = 0
    unsigned: int = 0
    retired: int = 0
    broken: Broken | None = None
    tried: int = 0
    trouble: str = ""
    next: int = 0


def found(store: str, report: Report, began_ms: int, ended_ms: int) -> Verdict:
    return Verdict(
        store=store,
        began=began_ms,
        ended=ended_ms,
        chains=report.chains,
        segments=report.segments,
        records=report.records,
        unsigned=report.unsigned,
        retired=report.retired,
        broken=report.broken,
    )


def due_ms(at: str, last: Verdict, now_ms: int) -> int:
    """When the next one begins; not after `now_ms`: it is due. 0: never.

    at: HH:MM in UTC; "" for never. One that was missed is made up for. What began in the time to come was
    begun by a clock that has been set back since, and is as good as none.
    """
    if not at:
        return 0
    hour, _, minute = at.partition(":")
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    slot = now.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
    if slot > now:
        slot -= timedelta(days=1)
    slot_ms = int(slot.timestamp() * 1000)
    if last.trouble and slot_ms - AGAIN_S * 1000 < last.tried <= now_ms:
        return max(now_ms, last.tried + int(AGAIN_S * 1000))
    if slot_ms <= last.began <= now_ms:
        return slot_ms + 24 * 3600 * 1000
    return now_ms


def kept(path: Path, store: str) -> Verdict:
    """What an earlier process found here."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        verdict = msgspec.json.decode((path / FILE).read_bytes(), type=Verdict)
        verdict.store = store
        return verdict
    return Verdict(store=store)


def keep(path: Path, verdict: Verdict) -> None:
    """All of it, or nothing. Raises OSError."""
    new = path / f".{FILE}"
    with new.open("wb") as file:
        file.write(msgspec.json.encode(verdict))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path / FILE)
