"""Parameters of a request: whole numbers, and the refusal of what is not accepted. Pure."""

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
        raise bad_parameter(key, text, "it is not a whole number in range", f"{least} to {most}")
    return int(text)


def bad_parameter(key: str, value: str, why: str, accepted: str, *, code: str = "bad-parameter") -> Problem:
    return Problem(
        code,
        what=f'The parameter {key} is "{value[:200]}"',
        why=why,
        do=f"accepted: {accepted}",
        params={"parameter": key},
    )
