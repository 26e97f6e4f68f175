"""Records that sinks keep, read and looked after from a gateway (design §4.1).

Any sink answers; one that was away has what it missed from its peers within seconds. Which entries a caller
may see is decided here: a sink knows nothing of rights.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.apiserver.sinks.client import SinkClient
from edge.audit.query import LOOKED_AT_MAX, PAGE_MAX, Entry, Page, Query, Visible, cursor_at
from edge.audit.received import NotTakenError, State
from edge.audit.recovery import Left
from edge.audit.shipping import Shipper
from edge.audit.statements import CLOSED, RETIRED, Signer, public_text
from edge.audit.verify import Report

log = structlog.stdlib.get_logger("edge.audit")
CAUGHT_UP_S: Final = 15.0
AWAY: Final = "no sink of the audit trail answers"


class SinkReading:
    def __init__(self, sinks: Sequence[SinkClient]) -> None:
        self._sinks = sinks

    async def search(self, query: Query, visible: Visible) -> Page:
        asked, found, looked_at = query._replace(limit=PAGE_MAX), list[Entry](), 0
        wanted = max(1, min(query.limit, PAGE_MAX))
        while True:
            page = await self._page(asked)
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

    async def _page(self, query: Query) -> Page:
        why = AWAY
        for sink in self._sinks:
            try:
                return await sink.search(query)
            except OSError as error:
                why = str(error)
        raise OSError(why)

    async def verify(self, anchors: Sequence[bytes] = ()) -> Report:
        """Of every sink; the first thing that is broken on any of them. A sink that is away is not silent.

        What anchors speak of must be there on one sink at least: the others may be behind.
        """
        found: Report | None = None
        short: Report | None = None
        for sink in self._sinks:
            report = await sink.verification(anchors)
            if report.broken is not None:  # or it is behind by what its peers have
                await asyncio.sleep(CAUGHT_UP_S)
                report = await sink.verification(anchors)
            if report.broken is not None:
                report.broken = replace(report.broken, why=f"{report.broken.why} (at {sink.name})")
                alone = await sink.verification(()) if anchors else report
                if alone.broken is not None:
                    return report
                short = short or report
            elif found is None or report.records > found.records:
                found = report
        whole = found or short
        assert whole is not None  # noqa: S101 - there is a sink at least
        return whole


def _seen(entries: list[Entry], visible: Visible) -> list[bool]:
    return [visible(entry.actor.user, entry.scope) for entry in entries]


class SinkOrphans:
    """Chains that no gateway writes any more, and what has aged."""

    def __init__(self, sinks: Sequence[SinkClient], shipper: Shipper, key: Ed25519PrivateKey) -> None:
        self._sinks = sinks
        self._shipper = shipper
        self._key = key

    async def left(self) -> list[Left]:
        found: list[Left] = []
        sink = await self._first()
        await self._retire(sink)
        for chain, state in (await sink.left(self._shipper.chain)).items():
            furthest, state = await self._furthest(chain, sink, state)
            open_ones = await furthest.open_intents(chain)
            found.append(Left(chain, -1, state.seq, bytes.fromhex(state.digest), open_ones))
        return found

    async def let_go(self, left: Left, now_ms: int) -> None:
        """Where the chain is longest; the others have it from there."""
        sink, state = await self._furthest(left.chain, await self._first(), None)
        if state.closed:
            return
        line = Signer(self._key, left.chain, state.last).sign(
            CLOSED, seq=state.seq, digest=bytes.fromhex(state.digest), time_ms=now_ms
        )
        await self._sign(sink, left.chain, state, line)

    async def _retire(self, sink: SinkClient) -> None:
        """Let go of what has aged; each with a signed statement before it goes."""
        for aged in await sink.aged():
            digest = bytes.fromhex(aged.digest)
            if aged.chain == self._shipper.chain:
                self._shipper.retire(aged.seq, digest)
                continue
            state = await sink.state(aged.chain)
            signer = Signer(self._key, aged.chain, state.last)
            line = signer.sign(RETIRED, seq=aged.seq, digest=digest, time_ms=self._shipper.now_ms())
            await self._sign(sink, aged.chain, state, line)

    async def _sign(self, sink: SinkClient, chain: str, state: State, line: bytes) -> None:
        await sink.sign(chain, state.statements, line, public_text(self._key.public_key()))

    async def _first(self) -> SinkClient:
        for sink in self._sinks:
            try:
                await sink.states()
            except OSError:
                continue
            return sink
        raise OSError(AWAY)

    async def _furthest(self, chain: str, first: SinkClient, known: State | None) -> tuple[SinkClient, State]:
        best = first, known or await first.state(chain)
        for sink in self._sinks:
            try:
                state = (await sink.states()).get(chain, State())
            except (OSError, NotTakenError):
                continue
            if (state.seq, state.statements) > (best[1].seq, best[1].statements):
                best = sink, state
        return best
