"""Long work in steps, so that the others of an event loop get their turn.

    async for found in in_turns(steps):     # steps: a generator that yields None where it may be put aside

Whatever the steps look at may change between two of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from time import monotonic
from typing import Final, TypeVar

TURN_S: Final = 0.005

T = TypeVar("T")


async def in_turns(steps: Iterable[T | None], turn_s: float = TURN_S) -> AsyncGenerator[T]:
    """What the steps bring, without the None; the loop is held up for `turn_s` and one step at most."""
    ends_at = monotonic() + turn_s
    for found in steps:
        if found is not None:
            yield found
        if monotonic() > ends_at:
            await asyncio.sleep(0)
            ends_at = monotonic() + turn_s


async def finish(steps: Iterable[None], turn_s: float = TURN_S) -> None:
    """Take all the steps of work that brings nothing on its way."""
    async for _ in in_turns(_nothing(steps), turn_s):
        raise AssertionError("a step without a result has brought one")


def _nothing(steps: Iterable[None]) -> Iterable[int | None]:
    return steps
