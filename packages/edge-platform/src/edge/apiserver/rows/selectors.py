"""Label and field selectors as tests. Pure. Source: the Kubernetes API; console §5.1 (`BadSelector`)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from edge.apiserver.rows.columns import RowColumn
from edge.apiserver.rows.parameters import bad_parameter
from edge.apiserver.rows.project import Item
from edge_sdk.problem import Problem

LabelTest = Callable[[Mapping[str, str]], bool]
FieldTest = Callable[[Item], bool]

_PART: Final = re.compile(r"[^,(]*(?:\([^)]*\))?[^,(]*")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_EQUAL: Final = re.compile(rf"({_LABEL})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)")
_IN: Final = re.compile(rf"({_LABEL})\s+(in|notin)\s+\(([^)]*)\)")
_EXISTS: Final = re.compile(rf"(!?)\s*({_LABEL})")
_FIELD: Final = re.compile(r"([A-Za-z0-9_.]+)\s*(==|=|!=)\s*([^,=]*)")


def read_labels(selector: str) -> tuple[LabelTest, ...]:
    """A Kubernetes label selector as tests that must all hold. Raises Problem (400, BadSelector)."""
    parts = [part.strip() for part in _PART.findall(selector)]
    return tuple(_label_test(part, selector) for part in parts if part)


def _label_test(part: str, selector: str) -> LabelTest:
    if match := _EQUAL.fullmatch(part):
        key, sign, value = match.groups()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _IN.fullmatch(part):
        key, word, listed = match.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EXISTS.fullmatch(part):
        absent, key = bool(match[1]), match[2]
        return lambda labels: (key in labels) is not absent
    accepted = "key=value, key!=value, key in (a,b), key notin (a,b), key, !key"
    raise bad_selector("labelSelector", selector, f'"{part[:80]}" is not understood', accepted)


def read_fields(selector: str, columns: Sequence[RowColumn]) -> tuple[FieldTest, ...]:
    """A field selector over metadata.name, metadata.namespace and the fields that columns show.

    Raises Problem (400, BadSelector) with the fields that there are.
    """
    places = _places(columns)
    tests: list[FieldTest] = []
    for part in filter(None, (part.strip() for part in selector.split(","))):
        match = _FIELD.fullmatch(part)
        if match is None or match[1] not in places:
            accepted = f"{'=VALUE, '.join(sorted(places))}=VALUE; != as well"
            raise bad_selector("fieldSelector", selector, f'"{part[:80]}" is not supported', accepted)
        tests.append(_field_test(places[match[1]], match[3].strip(), wanted=match[2] != "!="))
    return tuple(tests)


def _places(columns: Sequence[RowColumn]) -> dict[str, Callable[[Item], str]]:
    found: dict[str, Callable[[Item], str]] = {
        "metadata.name": lambda item: item.name,
        "metadata.namespace": lambda item: item.namespace,
    }
    for number, column in enumerate(columns):
        path = column.path.removeprefix(".")
        if re.fullmatch(r"[A-Za-z0-9_.]+", path) and column.type in ("text", "ref", "bool"):
            found.setdefault(path, _reads(number, "false" if column.type == "bool" else ""))
    return found


def _reads(number: int, absent: str) -> Callable[[Item], str]:
    def read(item: Item) -> str:
        cell = item.cells[number]
        if cell is None:
            return absent
        return str(cell).lower() if isinstance(cell, bool) else str(cell)

    return read


def _field_test(read: Callable[[Item], str], value: str, *, wanted: bool) -> FieldTest:
    return lambda item: (read(item) == value) is wanted


def bad_selector(parameter: str, value: str, why: str, accepted: str) -> Problem:
    return bad_parameter(parameter, value, why, accepted, code="bad-selector")
