"""Whole numbers among the parameters of a request. Pure."""

from typing import Final

from edge.apiserver.paths import Target
from edge_sdk.problem import Problem

DIGITS_MAX: Final = 20


def number(target: Target, key: str, most: int, *, least: int = 0, default: int = 0) -> int:
    """Raises Problem (400) that says what is accepted."""
    text = target.first(key)
    if not text:
        return default
    # The length first: Python refuses to read a number of thousands of digits.
    is_whole = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    if not is_whole or not least <= int(text) <= most:
        raise Problem(
            "bad-parameter",
            what=f'The parameter {key} is "{text[:200]}"',
            why="it is not a whole number in range",
            do=f"accepted: {least} to {most}",
            params={"parameter": key},
        )
    return int(text)
