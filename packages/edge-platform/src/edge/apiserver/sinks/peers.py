"""A sink fetches from its peers what it missed: after a restart, a cut network, a new volume."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from edge.apiserver.sinks.client import SinkClient
from edge.audit.received import NotTakenError, Received, State
from edge.audit.statements import read_public

EVERY_S: Final = 10.0
WRITERS_FIRST_S: Final = 5.0
"""A chain whose writer was heard just now is left to it: what is missing is on its way."""

log = structlog.stdlib.get_logger("edge.audit")


async def follow_peers(received: Received, peers: Sequence[SinkClient], every_s: float = EVERY_S) -> None:
    """Until cancelled."""
    while True:
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
    theirs = await peer.states()
    if theirs:
        for key in await peer.keys():
            await asyncio.to_thread(received.folder.add_key, read_public(key))
    for chain, state in theirs.items():
        ours = await asyncio.to_thread(received.state, chain)
        behind = state.seq > ours.seq or state.statements > ours.statements
        if behind and (ours.silent_s > WRITERS_FIRST_S or not ours.seq):
            try:
                await _take_over(received, peer, chain, state)
            except NotTakenError as error:
                log.warning("audit_not_taken_over", chain=chain, peer=peer.name, error=str(error))


async def _take_over(received: Received, peer: SinkClient, chain: str, state: State) -> None:
    ours = await asyncio.to_thread(received.state, chain)
    before = ours.seq
    while ours.seq < state.seq:
        lines = await peer.records(chain, ours.seq)
        if not lines:
            break
        ours = await asyncio.to_thread(received.append, chain, lines)
    if ours.statements < state.statements and ours.seq >= state.seq:
        missing = await peer.statements(chain, ours.statements)
        await asyncio.to_thread(received.sign, chain, ours.statements, missing)
    if ours.seq > before:
        log.info("audit_taken_over", chain=chain, peer=peer.name, records=ours.seq - before)
