"""Writes the gateway's OpenAPI document, and the client in edge_sdk/client from it."""

from pathlib import Path

from edge.apiserver.openapi.document import build, text_of
from edge.apiserver.openapi.operations import all_operations
from tools.writing import main

DOCUMENT = Path("packages/edge-platform/src/edge/apiserver/openapi/openapi.json")


def files() -> dict[Path, str]:
    """Path → content."""
    document = build(all_operations())
    return {DOCUMENT: text_of(document)}


if __name__ == "__main__":
    main("openapigen", files())
