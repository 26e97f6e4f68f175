"""What a stranger may see of each route of the OpenAPI document (S9, S10)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Expected = Literal["public", "own", "kind", "kubernetes", "rights", "admin"]

TAGS: Final[Mapping[str, Expected]] = {
    "oauth": "public",
    "system": "public",
    "me": "own",
    "kubeconfigs": "own",
    "audit": "own",
    "sessions": "own",
    "oauthclients": "admin",
    "console": "kind",
    "access": "rights",
    "kubernetes": "kubernetes",
    **dict.fromkeys(("iam", "scope", "app", "ext", "image", "registry", "core"), "kind"),  # pyright: ignore[reportArgumentType]
}
"""Tag → what is expected of its routes. A route with another tag fails the probe until somebody says.

public: the same for everybody. own: about the caller alone. kind, kubernetes: objects within the caller's
rights. rights: about rights, as far as the caller may read bindings.
"""


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    operation: Mapping[str, Any]
    expected: Expected


def routes(document: Mapping[str, Any]) -> tuple[list[Route], list[str]]:
    """All operations, and those without an expectation."""
    found: list[Route] = []
    missing: list[str] = []
    for method, path, one in operations(document):
        expected = TAGS.get(one["tags"][0])
        if expected is None:
            missing.append(f"{method} {path}")
        else:
            found.append(Route(method, path, one, expected))
    return found, missing


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item:
                yield method.upper(), path, item[method]
