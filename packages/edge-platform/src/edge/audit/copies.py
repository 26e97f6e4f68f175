"""The newest signed statements of each chain, to be kept outside of the volume that holds the records.

    copies = merged(kept, lines)     # by chain; what is newest stays, within bounds

Source: design operations-and-observability §4.1, the ring.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from edge.audit.statements import unchecked

PER_CHAIN: Final = 4
"""The last one says how long the chain was; `retired` and `opened` before it say more."""
CHAINS_MAX: Final = 256
BYTES_MAX: Final = 600_000
"""Of all together: an object of Kubernetes holds a megabyte."""
LINE_MAX: Final = 64_000
"""A statement that names very many other chains is left out."""


def merged(kept: Mapping[str, str], lines: Iterable[bytes]) -> dict[str, str]:
    """Lines by chain, as they are kept. lines: new ones, in the order in which they were signed."""
    found = {chain: _lines(text) for chain, text in kept.items()}
    for line in lines:
        if len(line) > LINE_MAX:
            continue
        for statement in unchecked(line):
            one = found.setdefault(statement.chain, [])
            if line.decode() not in one:
                one.append(line.decode())
    return _bounded({chain: one[-PER_CHAIN:] for chain, one in found.items() if one})


def all_lines(kept: Mapping[str, str]) -> list[bytes]:
    return [line.encode() for text in kept.values() for line in _lines(text)]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _bounded(found: dict[str, list[str]]) -> dict[str, str]:
    """Chains that were heard of last come first."""
    room, bounded = BYTES_MAX, dict[str, str]()
    for chain in sorted(found, key=lambda one: _time(found[one]), reverse=True)[:CHAINS_MAX]:
        text = "".join(found[chain])
        room -= len(chain) + len(text)
        if room < 0:
            break
        bounded[chain] = text
    return bounded


def _time(lines: list[str]) -> int:
    return max((one.time for one in unchecked("".join(lines).encode())), default=0)
