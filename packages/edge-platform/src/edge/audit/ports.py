"""What a trail needs of where its records are kept: to append, to read, to look after dead writers."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from edge.audit.query import Page, Query, Visible
from edge.audit.recovery import Left
from edge.audit.verdict import Verdict
from edge.audit.verify import Report
from edge.audit.writer import Counts, Entry


class Appending(Protocol):
    """Makes records durable, in the order in which they are put."""

    @property
    def counts(self) -> Counts: ...

    def start(self, loop: asyncio.AbstractEventLoop) -> None: ...

    def put(self, entry: Entry) -> bool:
        """False when it does not fit; an outcome always does."""
        ...

    async def closed(self) -> None:
        """Write what is waiting and sign the end."""
        ...


class Orphans(Protocol):
    """Chains whose writers died. Raises OSError, NotTakenError while they cannot be reached."""

    async def left(self) -> list[Left]: ...

    async def let_go(self, left: Left, now_ms: int) -> None:
        """Sign the end of it."""
        ...


class Reading(Protocol):
    """Raises OSError, BadQueryError."""

    async def search(self, query: Query, visible: Visible) -> Page: ...

    async def verify(self, anchors: Sequence[bytes] = ()) -> Report:
        """anchors: signed lines that were kept elsewhere."""
        ...

    async def verdicts(self) -> list[Verdict]:
        """What the last verification of each store found."""
        ...

    @property
    def known(self) -> list[Verdict]:
        """The same, as far as it is known without asking."""
        ...
