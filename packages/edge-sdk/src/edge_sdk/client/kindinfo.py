"""What a program has to know of a kind to show it, without its type."""

from typing import NamedTuple


class ColumnInfo(NamedTuple):
    """A column of a table. path: JSONPath such as .spec.email; type: string, integer, date, …"""

    name: str
    path: str
    type: str
    wide: bool


class KindInfo(NamedTuple):
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...]
    columns: tuple[ColumnInfo, ...]
