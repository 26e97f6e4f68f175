"""Kubernetes quantities as whole numbers of thousandths, so that sums are exact. Pure.

"1500m" of cpu is 1500, "2" is 2000, "1Ki" of memory is 1024000. Grammar as of resource.Quantity.
"""

import re
from fractions import Fraction
from typing import Final

PER_UNIT: Final = 1000
LIMIT: Final = (2**63 - 1) * PER_UNIT
"""The API server keeps no larger number."""

_NUMBER: Final = re.compile(
    r"(?P<number>[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40}))"
    r"(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SHOWN: Final = ("Ei", "Pi", "Ti", "Gi", "Mi")


class BadQuantity(ValueError):
    """A text is no quantity; the message says why."""


def parse(text: str) -> Fraction:
    """The number that a quantity stands for, in units. Raises BadQuantity."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise BadQuantity("is no quantity")
    number, suffix = Fraction(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return number * 2 ** _BINARY[suffix]
    power = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return number * Fraction(10) ** power


def at_most(text: str) -> int:
    """Thousandths, rounded down: of what is granted. Raises BadQuantity."""
    return min(parse(text) * PER_UNIT // 1, LIMIT)


def at_least(text: str) -> int:
    """Thousandths, rounded up: of what is used. Raises BadQuantity."""
    return min(-(-parse(text) * PER_UNIT // 1), LIMIT)


def text_of(amount: int) -> str:
    """The shortest usual way to write it: 500m, 3, 2Gi."""
    if amount % PER_UNIT:
        return f"{amount}m"
    units = amount // PER_UNIT
    for suffix in _SHOWN:
        size = 1 << _BINARY[suffix]
        if units >= size and units % size == 0:
            return f"{units // size}{suffix}"
    return str(units)
