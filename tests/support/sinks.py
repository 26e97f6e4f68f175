"""Sinks in this process, over a folder each, that can be cut off."""

from pathlib import Path

from tests.support.trails import KEY, ROOMY

from edge.audit.folder import Folder
from edge.audit.received import Received, State
from edge.audit.retention import Limits


class NearSink:
    """away: not reached. restart(): as after kill -9, with what is on the disk."""

    def __init__(self, path: Path, limits: Limits = ROOMY) -> None:
        self.name = path.name
        self.away = False
        self._path, self._limits = path, limits
        self.restart()

    def restart(self) -> None:
        folder = Folder(self._path)
        folder.make()
        folder.add_key(KEY.public_key())
        self.received = Received(folder, self._limits)

    @property
    def folder(self) -> Folder:
        return self.received.folder

    async def state(self, chain: str) -> State:
        return self._reached().state(chain)

    async def states(self) -> dict[str, State]:
        return self._reached().states()

    async def append(self, chain: str, lines: bytes) -> State:
        return self._reached().append(chain, lines)

    async def sign(self, chain: str, first: int, statements: bytes) -> State:
        return self._reached().sign(chain, first, statements)

    async def records(self, chain: str, after: int) -> bytes:
        return self._reached().records(chain, after)

    async def statements(self, chain: str, first: int) -> bytes:
        return self._reached().statements(chain, first)

    def _reached(self) -> Received:
        if self.away:
            raise OSError(f"{self.name} is away")
        return self.received
