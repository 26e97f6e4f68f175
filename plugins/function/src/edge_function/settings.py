"""What an ApplicationVersion's spec.config means for this plugin, and what is wrong with it. Pure.

config:
  runtime: python            # or shell; default python
  handler: handle            # python: name of the function; default handle
  source: |
    def handle(event):
        return {"hello": event["query"].get("name", "world")}
  replicas: 2                # default: left to the cluster
  image: example/python:3    # default: the runtime's own
  env: {GREETING: hello}
"""

import ast
import keyword
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from edge_sdk.problem import Violation
from edge_sdk.provisioner import Version

PORT: Final = 8080
SOURCE_LIMIT_BYTES: Final = 256 * 1024  # far below the 1 MiB that a ConfigMap may hold
DEFAULT_IMAGES: Final[Mapping[str, str]] = {
    "python": "localhost/edge/edge-platform:v1.0.0",
    "shell": "localhost/edge/busybox:v1.0.0",
}


class FunctionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """spec.config, decoded; wrong types and unknown names are refused by name."""

    source: str
    runtime: str = "python"
    handler: str = "handle"
    image: str = ""
    replicas: int | msgspec.UnsetType = msgspec.UNSET
    env: Mapping[str, str] = {}

    @property
    def image_used(self) -> str:
        return self.image or DEFAULT_IMAGES[self.runtime]


def read_config(version: Version) -> FunctionConfig:
    """Raises msgspec.ValidationError, which names the field."""
    return msgspec.convert(dict(version.config), FunctionConfig)


def check_config(version: Version) -> Sequence[Violation]:
    try:
        config = read_config(version)
    except msgspec.ValidationError as error:
        return [_violation("", dict(version.config), str(error), "source, runtime, handler, image, …")]
    found: list[Violation] = []
    if config.runtime not in DEFAULT_IMAGES:
        return [_violation("runtime", config.runtime, "no such runtime", sorted(DEFAULT_IMAGES))]
    if not config.source.strip():
        found.append(_violation("source", "", "a function needs a source text", "the text of the function"))
    if len(config.source.encode()) > SOURCE_LIMIT_BYTES:
        size = f"{len(config.source.encode())} bytes"
        found.append(_violation("source", size, "too long", f"at most {SOURCE_LIMIT_BYTES} bytes"))
    if config.runtime == "python":
        found += _check_python(config)
    if config.replicas is not msgspec.UNSET and config.replicas < 0:
        found.append(_violation("replicas", config.replicas, "cannot be negative", "0 or more"))
    return found


def _check_python(config: FunctionConfig) -> Sequence[Violation]:
    if not config.handler.isidentifier() or keyword.iskeyword(config.handler):
        return [_violation("handler", config.handler, "is no name of a function", "handle")]
    try:
        tree = ast.parse(config.source)
    except (SyntaxError, ValueError) as error:
        return [_violation("source", _line(config.source, error), f"Python refuses it: {error}", "")]
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if config.handler not in functions:
        return [_violation("handler", config.handler, "the source has no such function", functions)]
    return ()


def _line(source: str, error: Exception) -> str:
    number = getattr(error, "lineno", None) or 1
    lines = source.splitlines() or [""]
    return lines[min(number, len(lines)) - 1].strip()[:80]


def _violation(name: str, value: Any, why: str, accepted: str | Sequence[str]) -> Violation:
    return Violation(f"spec.config.{name}".rstrip("."), value, why, accepted)
