"""The part of JSONPath that columns and --sort-by use: .a.b, .a\\.b, [0], [*], [?(@.k=="v")]. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

_STEP: Final = re.compile(
    r"""\.(?P<key>(?:\\.|[^.\[\]\\])+)"""
    r"""|\[\?\(@\.(?P<test>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
    r"""|\[(?P<at>\d+|\*)\]|\[["'](?P<quoted>[^"']+)["']\]"""
)


def is_path(path: str) -> bool:
    return _rest(_plain(path)) == ""


def values(obj: Any, path: str) -> list[Any]:
    """All that the path leads to; nothing where it leads nowhere."""
    found: list[Any] = [obj]
    for step in _STEP.finditer(_plain(path)):
        found = [inner for one in found for inner in _next(one, step)]
    return found


def first(obj: Any, path: str) -> Any:
    """The first value, None without one."""
    return next(iter(values(obj, path)), None)


def _plain(path: str) -> str:
    path = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    return path if path.startswith((".", "[")) else f".{path}"


def _rest(path: str) -> str:
    at = 0
    while match := _STEP.match(path, at):
        at = match.end()
    return path[at:]


def _next(obj: Any, step: re.Match[str]) -> list[Any]:
    key = step["key"] or step["quoted"]
    if key is not None:
        key = re.sub(r"\\(.)", r"\1", key)
        held = cast("Mapping[str, Any]", obj if isinstance(obj, Mapping) else {})
        return [held[key]] if key in held else []
    if not isinstance(obj, list):
        return []
    items = cast("Sequence[Any]", obj)
    if step["test"]:
        return [one for one in items if first(one, step["test"]) == step["value"]]
    if step["at"] == "*":
        return list(items)
    return list(items[int(step["at"]) : int(step["at"]) + 1])
