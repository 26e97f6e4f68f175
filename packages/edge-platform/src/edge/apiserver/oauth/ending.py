"""A client that is deleted takes what it was given with it, one that is changed what it could not get now:
such sessions end, on every replica.

What a gateway that stopped meanwhile has left is swept later: the keeper of sessions looks for their clients.
"""

import asyncio

import structlog

from edge.apiserver.sessions.store import Sessions
from edge.apiserver.signin.clients import Clients
from edge_sdk.problem import Unavailable

AGAIN_AFTER_S = 5.0

log = structlog.stdlib.get_logger("edge.apiserver")


class ClientsEnding:
    def __init__(self, clients: Clients, sessions: Sessions) -> None:
        self._clients = clients
        self._sessions = sessions
        self._changed: asyncio.Queue[str] = asyncio.Queue()
        clients.changed = self._changed.put_nowait

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            id_ = await self._changed.get()
            try:
                await self._end(id_)
            except Unavailable as error:
                log.warning("sessions_of_client_not_ended", client=id_, error=str(error))
                await asyncio.sleep(AGAIN_AFTER_S)
                self._changed.put_nowait(id_)

    async def _end(self, id_: str) -> None:
        """Every replica does it, and each session is ended once. Raises Unavailable."""
        client = self._clients.find(id_)
        if client is None and not self._clients.is_gone(id_):
            return  # a slip of who wrote it by hand signs nobody out
        for record in self._sessions.live.all():
            if record.client != id_ or (client is not None and client.gives(record.provider, record.user)):
                continue
            await self._sessions.end_id(record.id)
