"""Fixtures of all tests, and the folder of the built programs when make has not set it."""

import os
from pathlib import Path

from hypothesis import settings

pytest_plugins = ("edge_kube.harness.fixtures",)

os.environ.setdefault("EDGE_TOOLS", str(Path.home() / ".cache/edge-platform/tools/dev"))

settings.register_profile(
    "edge", deadline=None
)  # how long an example takes says more of the machine than of us
settings.load_profile("edge")
