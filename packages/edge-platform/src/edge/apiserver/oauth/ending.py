"""A client that is deleted takes what it was given with it: its sessions end, on every replica.

What a gateway that stopped meanwhile has left is swept later: the keeper of sessions looks for their clients.
"""

import asyncio

import structlog

from edge.apiserver.oauth.clients import Clients
from edge.apiserver.sessions.store import Sessions
from edge_sdk.problem import Unavailable

AGAIN_AFTER_S = 5.0

log = structlog.stdlib.get_logger("edge.apiserver")


class ClientsEnding:
    def __init__(self, clients: Clients, sessions: Sessions) -> None:
        self._clients = clients
        self._sessions = sessions
        self._gone: asyncio.Queue[str] = asyncio.Queue()
        clients.gone = self._gone.put_nowait

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            id_ = await self._gone.get()
            try:
                await self._end(id_)
            except Unavailable as error:
                log.warning("sessions_of_client_not_ended", client=id_, error=str(error))
                await asyncio.sleep(AGAIN_AFTER_S)
                self._gone.put_nowait(id_)

    async def _end(self, id_: str) -> None:
        """Every replica does it, and each session is ended once. Raises Unavailable."""
        if self._clients.find(id_) is not None:
            return  # it was made again meanwhile
        for record in self._sessions.live.all():
            if record.client == id_:
                await self._sessions.end_id(record.id)
