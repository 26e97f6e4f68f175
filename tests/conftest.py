"""Fixtures of all tests, and the folder of the built programs when make has not set it."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("edge_kube.harness.fixtures",)

os.environ.setdefault("EDGE_TOOLS", str(Path.home() / ".cache/edge-platform/tools/dev"))

# How long an example takes, or takes to be made, says more of the machine than of us.
BUSY = settings(deadline=None, suppress_health_check=(HealthCheck.too_slow,))
# The same examples in each run, so that a change passes or fails by itself; `make soak` looks for new ones.
settings.register_profile("edge", BUSY, derandomize=True)
settings.register_profile("soak", BUSY)
settings.load_profile("edge")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") == "soak":
        settings.load_profile("soak")
