"""What is replaced while requests are in hand: it is closed once they have had their time (G5, C8)."""

import asyncio
from collections.abc import Awaitable, Callable

Close = Callable[[], Awaitable[None]]


class Closing:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, close: Close, after_s: float) -> None:
        task = asyncio.get_running_loop().create_task(_closed(close, after_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def all_now(self) -> None:
        await asyncio.sleep(0)  # a task that never began would not close anything
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _closed(close: Close, after_s: float) -> None:
    try:
        await asyncio.sleep(after_s)
    finally:
        await close()
