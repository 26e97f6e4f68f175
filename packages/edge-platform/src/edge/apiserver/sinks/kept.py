"""Records that sinks keep, read and looked after from a gateway (design §4.1).

The sink with the most records answers: one that was away has what it missed from its peers, but not at once.
Which entries a caller may see is decided here: a sink knows nothing of rights.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from edge.apiserver.sinks.client import Aged, SinkClient
from edge.audit.chain import HEX
from edge.audit.query import LOOKED_AT_MAX, PAGE_MAX, Entry, Page, Query, Visible, check, cursor_at
from edge.audit.received import NotTakenError, State
from edge.audit.recovery import Left
from edge.audit.shipping import Shipper
from edge.audit.statements import CLOSED, RETIRED, Signer
from edge.audit.verdict import Verdict
from edge.audit.verify import Report

log = structlog.stdlib.get_logger("edge.audit")
CAUGHT_UP_S: Final = 15.0
TOLD_WITHIN_S: Final = 1.0
VERDICTS_S: Final = 60.0
AWAY: Final = "no sink of the audit trail answers"


class SinkReading:
    def __init__(self, sinks: Sequence[SinkClient]) -> None:
        self._sinks = sinks
        self._verdicts: dict[str, Verdict] = {}

    async def search(self, query: Query, visible: Visible) -> Page:
        check(query)  # a sink would say it in words for machines
        asked, found, looked_at = query._replace(limit=PAGE_MAX), list[Entry](), 0
        wanted = max(1, min(query.limit, PAGE_MAX))
        sinks = await self._fullest_first()
        while True:
            page = await _page(sinks, asked)
            seen = await asyncio.to_thread(_seen, page.items, visible)
            for entry, may in zip(page.items, seen, strict=True):
                if may:
                    found.append(entry)
                if len(found) == wanted:
                    more = page.cursor or entry is not page.items[-1]
                    return Page(found, cursor_at(entry) if more else "")
            looked_at += len(page.items)
            if not page.cursor or looked_at >= LOOKED_AT_MAX:
                return Page(found, page.cursor)
            asked = asked._replace(cursor=page.cursor)

    async def _fullest_first(self) -> list[SinkClient]:
        """One with a new volume, or an old copy, knows less until it has the rest from its peers."""

        async def held(sink: SinkClient) -> int:
            with contextlib.suppress(OSError, NotTakenError):
                async with asyncio.timeout(TOLD_WITHIN_S):
                    return sum(state.seq for state in (await sink.states()).values())
            return -1

        holding = await asyncio.gather(*(held(sink) for sink in self._sinks))
        pairs = sorted(zip(holding, self._sinks, strict=True), key=lambda pair: pair[0], reverse=True)
        return [sink for _, sink in pairs]

    async def verify(self, anchors: Sequence[bytes] = ()) -> Report:
        """Of every sink; the first thing that is broken on any of them. A sink that is away is not silent.

        What anchors speak of must be there on one sink at least: the others may be behind.
        """
        found: Report | None = None
        short: Report | None = None
        for sink in self._sinks:
            report = await sink.verification(anchors)
            if report.behind:  # by what its peers have, as it seems
                await asyncio.sleep(CAUGHT_UP_S)
                report = await sink.verification(anchors)
            if report.broken is not None:
                report.broken = replace(report.broken, why=f"{report.broken.why} (at {sink.name})")
                if not report.behind:
                    return report
                short = short or report
            elif found is None or report.records > found.records:
                found = report
        whole = found or short
        assert whole is not None  # noqa: S101 - there is a sink at least
        return whole

    async def verdicts(self) -> list[Verdict]:
        """Of one that is away, what it said last, and that it is away."""

        async def asked(sink: SinkClient) -> Verdict:
            try:
                self._verdicts[sink.name] = verdict = await sink.verdict()
            except (OSError, NotTakenError) as error:
                known = self._verdicts.get(sink.name, Verdict(store=sink.name))
                return replace(known, trouble=str(error))
            return verdict

        return list(await asyncio.gather(*(asked(sink) for sink in self._sinks)))

    @property
    def known(self) -> list[Verdict]:
        return list(self._verdicts.values())

    async def follow_verdicts(self) -> None:
        """Until cancelled: for the measures."""
        while True:
            await self.verdicts()
            await asyncio.sleep(VERDICTS_S)


async def _page(sinks: Sequence[SinkClient], query: Query) -> Page:
    why = AWAY
    for sink in sinks:
        try:
            return await sink.search(query)
        except OSError as error:
            why = str(error)
    raise OSError(why)


def _seen(entries: list[Entry], visible: Visible) -> list[bool]:
    return [visible(entry.actor.user, entry.scope) for entry in entries]


class SinkOrphans:
    """Chains that no gateway writes any more, and what has aged."""

    def __init__(
        self,
        sinks: Sequence[SinkClient],
        shipper: Shipper,
        key: Ed25519PrivateKey,
        *,
        enough: int,
        keep_s: float,
    ) -> None:
        """enough: sinks that must say that something has aged. keep_s: how long a record stays."""
        self._enough = enough
        self._keep_ms = keep_s * 1000
        self._sinks = sinks
        self._shipper = shipper
        self._key = key

    async def left(self) -> list[Left]:
        told = await self._aged()
        for one in await self._agreed(told):
            await self._retire(one)
        sink = next(iter(told))
        orphans = await sink.left(self._shipper.chain)
        if not orphans:
            return []
        known = {sink: orphans, **await self._states()}
        found: list[Left] = []
        for chain in orphans:
            furthest, state = _furthest(chain, known)
            open_ones = await furthest.open_intents(chain)
            found.append(Left(chain, -1, state.seq, bytes.fromhex(state.digest), open_ones))
        return found

    async def let_go(self, left: Left, now_ms: int) -> None:
        """Where the chain is longest; the others have it from there."""
        sink, state = _furthest(left.chain, await self._states(left.chain))
        if state.closed:
            return
        line = Signer(self._key, left.chain, state.last).sign(
            CLOSED, seq=state.seq, digest=bytes.fromhex(state.digest), time_ms=now_ms
        )
        await self._sign(sink, left.chain, state, line)

    async def _aged(self) -> dict[SinkClient, list[Aged]]:
        """What has aged, by each that answers. Raises OSError when none does."""
        told: dict[SinkClient, list[Aged]] = {}
        for sink in self._sinks:
            with contextlib.suppress(OSError):
                told[sink] = await sink.aged()
        if not told:
            raise OSError(AWAY)
        return told

    async def _agreed(self, told: Mapping[SinkClient, list[Aged]]) -> list[Aged]:
        """By our own clock too, and as enough sinks say: one that lies or has a wrong clock ends nothing."""
        now_ms, found = self._shipper.now_ms(), dict[tuple[str, int], Aged]()
        for sink, aged in told.items():
            for one in aged:
                if (one.chain, one.seq) in found or now_ms - one.newest <= self._keep_ms:
                    continue
                others = [
                    other
                    for other, said in told.items()
                    if other is not sink and any(it.chain == one.chain and it.seq >= one.seq for it in said)
                ]
                if len(others) + 1 >= self._enough and await self._same(others, one):
                    found[one.chain, one.seq] = one
        return list(found.values())

    async def _same(self, sinks: Sequence[SinkClient], aged: Aged) -> bool:
        """Whether enough of them have that very record."""
        having = 1
        for sink in sinks:
            with contextlib.suppress(OSError, NotTakenError):
                lines = await sink.records(aged.chain, aged.seq - 1)
                having += lines[:HEX].decode("ascii", "replace") == aged.digest
        return having >= self._enough

    async def _retire(self, aged: Aged) -> None:
        """Let go of what has aged, with a signed statement before it goes; other sinks have it from there."""
        digest = bytes.fromhex(aged.digest)
        if aged.chain == self._shipper.chain:
            self._shipper.retire(aged.seq, digest)
            return
        sink, state = _furthest(aged.chain, await self._states(aged.chain))
        signer = Signer(self._key, aged.chain, state.last)
        line = signer.sign(RETIRED, seq=aged.seq, digest=digest, time_ms=self._shipper.now_ms())
        await self._sign(sink, aged.chain, state, line)

    async def _sign(self, sink: SinkClient, chain: str, state: State, line: bytes) -> None:
        await sink.sign(chain, state.statements, line)

    async def _states(self, chain: str = "") -> dict[SinkClient, Mapping[str, State]]:
        """What each sink that answers has, of all chains or of one."""
        found: dict[SinkClient, Mapping[str, State]] = {}
        for sink in self._sinks:
            with contextlib.suppress(OSError, NotTakenError):
                found[sink] = await sink.states(chain)
        return found


def _furthest(chain: str, known: Mapping[SinkClient, Mapping[str, State]]) -> tuple[SinkClient, State]:
    """Of several that are as far, the first. Raises OSError when none has it."""
    having = [(sink, states[chain]) for sink, states in known.items() if chain in states]
    if not having:
        raise OSError(f"no sink that answers has chain {chain}")
    return max(having, key=lambda one: (one[1].seq, one[1].statements))
