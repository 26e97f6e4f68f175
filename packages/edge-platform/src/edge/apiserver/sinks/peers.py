"""A sink fetches from its peers what it missed: after a restart, a cut network, a new volume.

It takes what is signed, and no more: nobody but a gateway can have it keep a record. What is behind the last
signature comes from the writer, or with the next signature, a minute later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from edge.apiserver.sinks.client import SinkClient
from edge.audit.chain import HEX
from edge.audit.received import NotTakenError, Received, State
from edge.audit.statements import RETIRED, ForgedError, Statement, read_copy
from edge_kube.errors import KubeError

EVERY_S: Final = 10.0
WRITERS_FIRST_S: Final = 5.0
"""A chain whose writer was heard just now is left to it: what is missing is on its way."""

log = structlog.stdlib.get_logger("edge.audit")


async def follow_peers(
    received: Received,
    peers: Sequence[SinkClient],
    refresh: Callable[[], Awaitable[None]],
    every_s: float = EVERY_S,
) -> None:
    """Until cancelled. refresh: learns which keys count."""
    while True:
        try:
            await refresh()
        except (OSError, ValueError, KubeError) as error:  # those that are known count meanwhile
            log.warning("audit_keys_not_read", error=str(error))
        for peer in peers:
            try:
                await catch_up(received, peer)
            except (OSError, ValueError) as error:
                log.info("audit_peer_not_followed", peer=peer.name, error=str(error))
        await asyncio.sleep(every_s)


async def catch_up(received: Received, peer: SinkClient) -> None:
    """Take over what the peer has and we have not; what does not follow ours is left there.

    Raises OSError, ValueError.
    """
    for chain, state in (await peer.states()).items():
        ours = await asyncio.to_thread(received.state, chain)
        behind = state.seq > ours.seq or state.statements > ours.statements
        if behind and (ours.silent_s > WRITERS_FIRST_S or not ours.seq):
            try:
                await _take_over(received, peer, chain)
            except NotTakenError as error:
                log.warning("audit_not_taken_over", chain=chain, peer=peer.name, error=str(error))


async def _take_over(received: Received, peer: SinkClient, chain: str) -> None:
    """Raises NotTakenError, OSError."""
    ours = await _begun(received, peer, chain)
    before, ahead = ours.seq, list[bytes]()
    while missing := await peer.statements(chain, ours.statements):
        for said in _checked(received, chain, missing):
            while said.kind != RETIRED and said.seq > ours.seq:
                while ours.seq + len(ahead) < said.seq:
                    ahead += await _lines(peer, chain, ours.seq + len(ahead))
                taken, ahead = ahead[: said.seq - ours.seq], ahead[said.seq - ours.seq :]
                if taken[-1][:HEX].decode("ascii", "replace") != said.h:
                    raise NotTakenError("conflict", f"record {said.seq} is not what was signed")
                ours = await asyncio.to_thread(received.append, chain, b"".join(taken))
        known = ours.statements
        ours = await asyncio.to_thread(received.sign, chain, known, missing)
        if ours.statements == known:
            raise NotTakenError("malformed", "what came is no statement")
    if ours.seq > before:
        log.info("audit_taken_over", chain=chain, peer=peer.name, records=ours.seq - before)


async def _begun(received: Received, peer: SinkClient, chain: str) -> State:
    """What is here of it; nothing yet: it begins behind what was let go of everywhere."""
    ours = await asyncio.to_thread(received.state, chain)
    if ours.seq or ours.statements:
        return ours
    last: Statement | None = None
    seen = 0
    while missing := await peer.statements(chain, seen):
        found = _checked(received, chain, missing)
        if not found:
            break
        seen += len(found)
        last = next((one for one in reversed(found) if one.kind == RETIRED), last)
    if last is None:
        return ours
    return await asyncio.to_thread(received.begin_behind, chain, last.seq, bytes.fromhex(last.h))


async def _lines(peer: SinkClient, chain: str, after: int) -> list[bytes]:
    """With their ends. Raises NotTakenError when there are none."""
    lines = [line + b"\n" for line in (await peer.records(chain, after)).split(b"\n")[:-1]]
    if not lines:
        raise NotTakenError("gap", f"it has no record {after + 1}, which is signed")
    return lines


def _checked(received: Received, chain: str, data: bytes) -> list[Statement]:
    """Raises NotTakenError for what bears no signature, or is about something else."""
    keys = received.folder.keys()
    try:
        found = [read_copy(line, keys) for line in data.split(b"\n")[:-1]]
    except ForgedError as error:
        raise NotTakenError("conflict", str(error)) from None
    if any(one.chain != chain for one in found):
        raise NotTakenError("conflict", "a statement is about another chain")
    return found
