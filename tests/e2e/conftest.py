"""One platform for all end-to-end tests of a session."""

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from tests.e2e import instance
from tests.e2e.instance import Platform

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The first test of a cluster waits for it to be installed as well, which takes minutes."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def platform() -> Generator[Platform]:
    """Installed once; tests make what they need in namespaces of their own and remove it."""
    with instance.platform() as installed:
        yield installed
