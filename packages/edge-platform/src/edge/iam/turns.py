"""Long work on the event loop, in turns with everything else that waits there."""

import asyncio
from collections.abc import Iterable
from typing import Final

TURN_S: Final = 0.005


async def in_turns(steps: Iterable[None], turn_s: float = TURN_S) -> None:
    """Take all steps; others get their turn after every turn_s seconds."""
    clock = asyncio.get_running_loop().time
    ends_at = clock() + turn_s
    for _ in steps:
        if clock() > ends_at:
            await asyncio.sleep(0)
            ends_at = clock() + turn_s
