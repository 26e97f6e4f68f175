"""Fixtures of all tests, and the folder of the built programs when make has not set it."""

import os
from pathlib import Path

pytest_plugins = ("edge_kube.harness.fixtures",)

os.environ.setdefault("EDGE_TOOLS", str(Path.home() / ".cache/edge-platform/tools/dev"))
