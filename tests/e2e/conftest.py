"""One platform for all end-to-end tests of a session."""

from collections.abc import Generator

import pytest
from tests.e2e import instance
from tests.e2e.instance import Platform


@pytest.fixture(scope="session")
def platform() -> Generator[Platform]:
    """Installed once; tests make what they need in namespaces of their own and remove it."""
    with instance.platform() as installed:
        yield installed
