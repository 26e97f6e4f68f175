"""Objects and Kubernetes Tables as rows of text. Pure: the time comes as an argument."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edge.cli.jsonpath import first
from edge_sdk.client.kindinfo import ColumnInfo

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """What was got: whole objects, and how a table shows each. cells: without namespace."""

    objects: list[Json]
    heads: list[str]
    cells: list[list[str]]


def of_objects(objects: Sequence[Json], columns: Sequence[ColumnInfo], *, wide: bool, now_s: float) -> Shown:
    """By the columns that the kind declares."""
    shown = [one for one in columns if wide or not one.wide] or [
        ColumnInfo("Age", ".metadata.creationTimestamp", "date", wide=False)
    ]
    cells = [
        [
            str(first(obj, ".metadata.name") or ""),
            *(_cell(first(obj, one.path), one.type, now_s) for one in shown),
        ]
        for obj in objects
    ]
    return Shown(list(objects), ["NAME", *(one.name.upper() for one in shown)], cells)


def of_table(table: Json, heads: Sequence[Json], *, wide: bool) -> Shown:
    """A meta.k8s.io/v1 Table as the API server makes it. heads: columnDefinitions."""
    kept = [at for at, one in enumerate(heads) if wide or not one.get("priority")]
    rows: list[Json] = table.get("rows") or []
    cells = [[_cell(row["cells"][at], "", 0) for at in kept] for row in rows]
    return Shown([row["object"] for row in rows], [str(heads[at]["name"]).upper() for at in kept], cells)


def rows(shown: Shown, *, namespaces: bool) -> list[list[str]]:
    """With a head, and a first column of namespaces if wanted."""
    if not namespaces:
        return [shown.heads, *shown.cells]
    places = [str(first(obj, ".metadata.namespace") or "") for obj in shown.objects]
    return [
        ["NAMESPACE", *shown.heads],
        *([place, *row] for place, row in zip(places, shown.cells, strict=True)),
    ]


def ordered(shown: Shown, path: str) -> Shown:
    """Sorted by what a JSONPath leads to; numbers before texts, nothing first."""
    pairs = sorted(zip(shown.objects, shown.cells, strict=True), key=lambda pair: _rank(first(pair[0], path)))
    return Shown([one for one, _ in pairs], shown.heads, [row for _, row in pairs])


def _rank(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (2, 0.0, str(value))


def _cell(value: Any, kind: str, now_s: float) -> str:
    if value is None or value == "":
        return "" if not kind else "-"
    if kind == "date":
        return age(str(value), now_s)
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return " ".join(text.split())


def age(time: str, now_s: float) -> str:
    """90 s → 90s, 5 min → 5m, as kubectl shortens it."""
    try:
        then = datetime.fromisoformat(time)
    except ValueError:
        return time
    seconds = max(0, int(now_s - (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()))
    for size, unit, most in ((1, "s", 120), (60, "m", 7200), (3600, "h", 172_800)):
        if seconds < most:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"
