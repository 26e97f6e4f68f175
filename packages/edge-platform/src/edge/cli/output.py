"""`-o`, the same in every command: table and wide for people, json, yaml and name for scripts."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

FORMS: Final = ("table", "wide", "name", "json", "yaml")


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=FORMS, default="table", help="form of the output")


def is_for_people(given: argparse.Namespace) -> bool:
    return given.output in ("table", "wide")


def show(given: argparse.Namespace, value: Any, names: Iterable[str] = ()) -> None:
    """A value in the form for scripts that was asked for. names: what `-o name` prints, a line each."""
    if given.output == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
    elif given.output == "yaml":
        yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)
    else:
        for name in names:
            tell(name)


def visible(text: str) -> str:
    """For a terminal: signs that would steer it are shown as escapes, whoever wrote them into an object.

    (kubernetes/kubernetes 101695, CVE-2021-25743)
    """
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()
        for sign in text
    )


def tell(text: str, *, aside: bool = False) -> None:
    """A line or more for people, with what comes from objects in it. aside: not a part of the output."""
    print(visible(text), file=sys.stderr if aside else sys.stdout, flush=aside)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """The first row is the head."""
    rows = [[visible(text) for text in row] for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def say(text: str) -> None:
    """Progress, for somebody who watches: never in the output, nor in a log."""
    if sys.stderr.isatty():
        tell(text, aside=True)
