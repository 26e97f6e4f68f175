"""Progress on the terminal: one line a step, with its seconds."""

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager


class StepError(Exception):
    """A step that cannot succeed: what happened, why, and what to do next; shown without a trace."""


class Progress:
    """Prints steps as they end; `quiet` keeps only failures."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def seconds(self) -> float:
        """Since this progress began."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, title: str) -> Generator[None]:
        """Name what is being done, and how long it took when it is done."""
        began = time.monotonic()
        live = not self._quiet and sys.stdout.isatty()
        if live:
            print(f"  … {title}", end="\r", flush=True)
        try:
            yield
        except BaseException:
            print(f"  ✗ {title} after {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
            raise
        self.say(f"  ✓ {title:<44} {time.monotonic() - began:6.1f} s")
