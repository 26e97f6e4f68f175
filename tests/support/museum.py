"""The museum as its users meet it: a process of its own on a free port."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Museum(NamedTuple):
    process: subprocess.Popen[str]
    url: str
    root: Path


@contextmanager
def museum(root: Path, *, before: Callable[[], None] | None = None, **environment: str) -> Generator[Museum]:
    """Start `edge-museum` over a folder; `before` runs in the child (limits). Stopped at the end."""
    settings = {
        **os.environ,
        "PORT": "0",
        "LISTEN_HOST": "127.0.0.1",
        "STORAGE_LOCAL_ROOTDIR": str(root),
        "EDGE_MUSEUM_PRELOADED": str(root.parent / "preloaded"),
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.museum.main"],
        env=settings,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509 this process has no threads that hold locks
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                yield Museum(process, f"http://127.0.0.1:{found[1]}", root)
                break
        else:
            raise AssertionError("the museum ended before it served")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
