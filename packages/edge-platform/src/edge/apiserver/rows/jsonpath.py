"""JSON paths of printer columns: `.status.phase`, `.spec.names[*]`, `.conditions[?(@.type=="Ready")].status`.

    getter = compile_path(r".metadata.labels['theriseunion\\.io/workspace']")
    getter(obj)      # every value the path leads to, in order; [] for none

Only what CRDs use is understood. Pure. Source: kubectl's JSONPath as additionalPrinterColumns take it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, cast

Getter = Callable[[Any], list[Any]]
Step = Callable[[Any], list[Any]]

_STEP: Final = re.compile(
    r"\.(?P<name>(?:[^.\[\]\\]|\\.)+)"
    r"|\['(?P<quoted>(?:[^'\\]|\\.)*)'\]"
    r"|\[(?P<index>-?\d{1,6})\]"
    r"|(?P<all>\[\*\]|\.\*)"
    r"|\[\?\(@\.(?P<key>[A-Za-z0-9_]+)\s*==\s*(?P<mark>[\"'])(?P<value>[^\"']*)(?P=mark)\)\]"
)
_ESCAPE: Final = re.compile(r"\\(.)")


class BadPath(ValueError):
    """A path is not understood; the message says from where on."""


@lru_cache(maxsize=1024)
def compile_path(path: str) -> Getter:
    """Raises BadPath."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if not text.startswith((".", "[")):
        text = f".{text}"
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise BadPath(f'"{path}" is not understood from "{text[at:]}" on')
        steps.append(_step(match))
        at = match.end()
    return lambda obj: _walk(steps, obj)


def _walk(steps: list[Step], obj: Any) -> list[Any]:
    found = [obj]
    for step in steps:
        found = [below for one in found for below in step(one)]
        if not found:
            break
    return [one for one in found if one is not None]


def _step(match: re.Match[str]) -> Step:
    if match["all"]:
        return _everything
    if match["index"] is not None:
        return _at(int(match["index"]))
    if match["key"] is not None:
        return _where(match["key"], match["value"])
    return _field(_ESCAPE.sub(r"\1", match["name"] if match["name"] is not None else match["quoted"]))


def _field(name: str) -> Step:
    def step(obj: Any) -> list[Any]:
        if not isinstance(obj, dict):
            return []
        value = cast("dict[str, Any]", obj).get(name)
        return [] if value is None else [value]

    return step


def _everything(obj: Any) -> list[Any]:
    if isinstance(obj, dict):
        return list(cast("dict[str, Any]", obj).values())
    return cast("list[Any]", obj) if isinstance(obj, list) else []


def _at(index: int) -> Step:
    def step(obj: Any) -> list[Any]:
        found = cast("list[Any]", obj) if isinstance(obj, list) else []
        return [found[index]] if -len(found) <= index < len(found) else []

    return step


def _where(key: str, value: str) -> Step:
    def step(obj: Any) -> list[Any]:
        found = cast("list[Any]", obj) if isinstance(obj, list) else []
        return [
            one for one in found if isinstance(one, dict) and cast("dict[str, Any]", one).get(key) == value
        ]

    return step
