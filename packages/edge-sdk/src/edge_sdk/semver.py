"""Semantic versions and ranges, with the words Helm users know (`^1.2`, `~2.0`, `1.x`, `>=1 <3 || 4.x`).

Precedence as in semver.org 2.0.0; build metadata does not count. A pre-release matches a range only when
the range itself names one, as in Helm, so that `>=1.0` never installs a release candidate by accident.
"""

import re
from collections.abc import Callable, Iterable
from functools import total_ordering
from typing import NamedTuple

_VERSION = re.compile(
    r"^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?$", re.ASCII
)
_STRICT = re.compile(
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$",
    re.ASCII,
)
_TERM = re.compile(
    r"^(=|==|!=|>=|=>|<=|=<|>|<|~>|~|\^)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$",
    re.ASCII,
)
_SPLIT = re.compile(r"(?:=|==|!=|>=|=>|<=|=<|>|<|~>|~|\^)?\s*[vV]?[0-9xX*][^\s,]*")
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")


class BadVersion(ValueError):
    """The text is no version or no range; the message names it."""


@total_ordering
class Version(NamedTuple):
    """One version; compares by precedence, so 1.0.0-rc.1 < 1.0.0 and 1.0.0+a == 1.0.0+b."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = ""

    def __str__(self) -> str:
        pre = f"-{'.'.join(self.pre)}" if self.pre else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}{'+' + self.build if self.build else ''}"

    def _order(self) -> tuple[object, ...]:
        pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.pre)
        return (self.major, self.minor, self.patch, not self.pre, pre)

    def __lt__(self, other: object) -> bool:
        return self._order() < other._order() if isinstance(other, Version) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self._order() > other._order() if isinstance(other, Version) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self._order() <= other._order() if isinstance(other, Version) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self._order() >= other._order() if isinstance(other, Version) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order() == other._order()

    def __hash__(self) -> int:
        return hash(self._order())


Range = Callable[[Version], bool]


def is_strict(text: str) -> bool:
    """True for a full semantic version without a leading v, as Helm asks of a chart."""
    return bool(_STRICT.match(text)) and not any(
        part.isdigit() and part != "0" and part.startswith("0") for part in parse(text).pre
    )


def parse(text: str) -> Version:
    """`1.2.3`, `v1.2`, `1` → Version; raises BadVersion."""
    match = _VERSION.match(text.strip())
    if match is None:
        raise BadVersion(f'"{text}" is no semantic version (expected for example 1.2.3)')
    major, minor, patch, pre, build = match.groups()
    return Version(
        int(major), int(minor or 0), int(patch or 0), tuple(pre.split(".")) if pre else (), build or ""
    )


def parse_range(text: str) -> Range:
    """A range → predicate; the empty range and `*` match every stable version; raises BadVersion."""
    alternatives = [_all_of(part) for part in (text or "*").split("||")]
    return lambda version: any(matches(version) for matches in alternatives)


def newest(versions: Iterable[str], wanted: str = "") -> str | None:
    """The highest of `versions` that the range `wanted` allows; texts that are no version are passed over.

    Of equal precedence (they differ in build metadata only) the lowest text is taken, so that the choice
    does not depend on order. Raises BadVersion for a malformed `wanted`.
    """
    allowed = parse_range(wanted)
    best: tuple[Version, str] | None = None
    for text in sorted(versions):
        try:
            version = parse(text)
        except BadVersion:
            continue
        if allowed(version) and (best is None or version > best[0]):
            best = (version, text)
    return best[1] if best else None


def _all_of(text: str) -> Range:
    text = _HYPHEN.sub(r">=\1 <=\2", text.strip())
    terms = _SPLIT.findall(text)
    rest = _SPLIT.sub("", text).replace(",", "").strip()
    if not terms or rest:
        raise BadVersion(f'"{text}" is no version range (expected for example ^1.2, ~2.0, 1.x or >=1 <3)')
    tests = [_term(term) for term in terms]
    return lambda version: all(test(version) for test in tests)


def _term(text: str) -> Range:
    match = _TERM.match(text)
    if match is None:
        raise BadVersion(f'"{text}" is no version range (expected for example ^1.2, ~2.0, 1.x or >=1 <3)')
    operator, *numbers, pre = match.groups()
    given: list[int] = []
    for number in numbers:
        if number is None or number in "xX*":
            break
        given.append(int(number))
    major, minor, patch = (*given, 0, 0, 0)[:3]
    low = Version(major, minor, patch, tuple(pre.split(".")) if pre else ())
    return _stable_unless_named(_compare(operator or "", low, len(given)), bool(pre))


def _stable_unless_named(test: Range, named: bool) -> Range:
    return lambda version: (named or not version.pre) and test(version)


def _compare(operator: str, low: Version, given: int) -> Range:
    """The test of one term; `given` is how many numbers were written (1.x gives 1, * gives 0)."""
    if given == 0:
        return (lambda _: False) if operator in ("!=", "<", ">") else (lambda _: True)
    above = _next(low, given)
    if operator in ("", "=", "=="):
        return (lambda v: v == low) if given == 3 else (lambda v: low <= v < above)
    if operator == "!=":
        return (lambda v: v != low) if given == 3 else (lambda v: not low <= v < above)
    if operator in (">=", "=>"):
        return lambda v: v >= low
    if operator in ("<=", "=<"):
        return (lambda v: v <= low) if given == 3 else (lambda v: v < above)
    if operator == ">":
        return (lambda v: v > low) if given == 3 else (lambda v: v >= above)
    if operator == "<":
        return lambda v: v < low
    if operator in ("~", "~>"):
        top = _next(low, min(given, 2))
    else:  # ^: up to the next change of the left-most number that is not zero
        first = next((i for i, n in enumerate(low[:given], start=1) if n), given)
        top = _next(low, first)
    return lambda v: low <= v < top


def _next(low: Version, digits: int) -> Version:
    numbers = [low.major, low.minor, low.patch]
    major, minor, patch = (*numbers[: digits - 1], numbers[digits - 1] + 1, 0, 0)[:3]
    return Version(major, minor, patch)
