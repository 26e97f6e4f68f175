"""The component engine on a real API server."""

from tests.support.engine import engine, shared_museum

__all__ = ["engine", "shared_museum"]
