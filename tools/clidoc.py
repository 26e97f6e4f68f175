"""The reference in docs/cli.md: every word and flag of `edge`, from its parser."""

import argparse
import inspect
import re
from collections.abc import Iterator
from typing import Final, cast

from edge.cli.main import build

BEGIN: Final = "<!-- generated from the parser: begin -->"
END: Final = "<!-- generated from the parser: end -->"
FLAGS_OF_ALL: Final = ("--help", "--output", "--server", "--ca", "--token")
"""Told once, in the prose."""
Parser = argparse.ArgumentParser


def cli_page(have: str) -> str:
    """have: the page as it is; the prose around the two markers is kept."""
    before, rest = have.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{_reference()}{END}{rest.split(END, 1)[1]}"


def _reference() -> str:
    lines: list[str] = []
    for parser, text in _leaves(build(), ""):
        lines += ["", f"### {_usage(parser)}", "", f"{text[:1].upper()}{text[1:]}."]
        if examples := _examples(parser):
            lines += ["", "```text", examples, "```"]
        rows = list(_rows(parser))
        if rows:
            lines += ["", "| | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n\n"


def _leaves(parser: Parser, text: str) -> Iterator[tuple[Parser, str]]:
    """Every command that does something, with its help."""
    nested = [one for one in _actions(parser) if isinstance(one.choices, dict)]
    if not nested:
        yield parser, text
    for action in nested:
        choices = cast("list[argparse.Action]", action._get_subactions())  # noqa: SLF001  # pyright: ignore
        helps = {one.dest: one.help or "" for one in choices}
        for name, inner in cast("dict[str, Parser]", action.choices).items():
            yield from _leaves(inner, helps.get(name, ""))


def _actions(parser: Parser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _usage(parser: Parser) -> str:
    words = [parser.prog]
    for one in _actions(parser):
        if not one.option_strings:
            word, often = _argument(one), str(one.nargs)
            words.append({"?": f"[{word}]", "*": f"[{word}…]"}.get(often, word))
    return " ".join(words)


def _argument(one: argparse.Action) -> str:
    return "|".join(map(str, one.choices)) if one.choices else str(one.metavar or one.dest.upper())


def _examples(parser: Parser) -> str:
    """Lines of the module's docstring that show this command."""
    module = inspect.getmodule(parser.get_default("run"))
    text = (module and module.__doc__) or ""
    return "\n".join(re.findall(rf"^(?:.*\| )?{re.escape(parser.prog)}(?: .*)?$", text, re.MULTILINE))


def _rows(parser: Parser) -> Iterator[str]:
    for one in _actions(parser):
        if set(one.option_strings) & set(FLAGS_OF_ALL):
            continue
        if one.option_strings:
            value = "" if one.nargs == 0 else f" {_argument(one)}"
            name = ", ".join(one.option_strings) + value
        elif one.help:
            name = _argument(one)
        else:
            continue
        yield f"| `{_cell(name)}` | {_cell(one.help or '')}{', may be repeated' * _repeats(one)} |"


def _repeats(one: argparse.Action) -> bool:
    return type(one).__name__ == "_AppendAction"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
