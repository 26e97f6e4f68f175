"""Where the built executables lie: EDGE_TOOLS, set by make and by the test run."""

import os
from pathlib import Path

import pytest

DEFAULT = Path.home() / ".cache/edge-platform/tools/dev"


def tool(name: str) -> str:
    """Path of an executable; fails the test that needs it, with the remedy."""
    path = Path(os.environ.get("EDGE_TOOLS", DEFAULT)) / name
    if not path.exists():
        pytest.fail(f"{path} is not there; run `make tools`")
    return str(path)
