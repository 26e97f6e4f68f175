"""Records in a folder of this machine: the driver of the embedded mode and of a single replica."""

import asyncio
from collections.abc import Sequence

from edge.audit.folder import Folder
from edge.audit.query import Page, Query, Visible, search
from edge.audit.recovery import Left, left_behind, let_go
from edge.audit.verdict import Verdict
from edge.audit.verifier import Verifier
from edge.audit.verify import Report
from edge.audit.writer import Writer


class FolderOrphans:
    """Those of the folder that `writer` writes to."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._closed = set[str]()

    async def left(self) -> list[Left]:
        return await asyncio.to_thread(left_behind, self._writer.folder, self._writer.chain, self._closed)

    async def let_go(self, left: Left, now_ms: int) -> None:
        await asyncio.to_thread(let_go, self._writer.folder, left, self._writer.key, now_ms)


class FolderReading:
    def __init__(self, folder: Folder, verifier: Verifier) -> None:
        self._folder = folder
        self._verifier = verifier

    async def search(self, query: Query, visible: Visible) -> Page:
        return await asyncio.to_thread(search, self._folder, query, visible)

    async def verify(self, anchors: Sequence[bytes] = ()) -> Report:
        return await self._verifier.verify(anchors)

    async def verdicts(self) -> list[Verdict]:
        return self.known

    @property
    def known(self) -> list[Verdict]:
        return [self._verifier.last]
