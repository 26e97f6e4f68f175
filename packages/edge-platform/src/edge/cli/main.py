"""`edge up | down | status | logs | clean | images | charts | tools`: the words of the embedded mode.

`make` uses the same words; the exit code is 0, 1 with a plain message, 3 when nothing runs, or 130 when
interrupted.
"""

from edge.embedded.commands import main

__all__ = ["main"]
