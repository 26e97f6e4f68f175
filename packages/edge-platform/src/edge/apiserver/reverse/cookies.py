"""Cookies of an upstream beside the platform's own on one address. Pure.

The platform's never go up, and no upstream may set or overwrite one; its own are kept to its path.
"""

from collections.abc import Sequence
from typing import Final

OURS: Final = ("edge", "__host-", "__secure-")
"""Beginnings of names, in lower case. A browser lets names with the last two replace nothing else."""
KEPT: Final = ("max-age", "expires", "secure", "httponly", "samesite")


def _is_ours(name: str) -> bool:
    return not name.strip() or name.strip().lower().startswith(OURS)


def sent_up(value: str) -> str:
    """The header Cookie without the platform's own; "" when nothing is left."""
    parts = (part.strip() for part in value.split(";"))
    return "; ".join(part for part in parts if "=" in part and not _is_ours(part.partition("=")[0]))


def sent_down(value: str, path: str) -> str | None:
    """One Set-Cookie, held to `path` and to this very host; None for one that may not be set."""
    pair, *attributes = value.split(";")
    name, sign, _ = pair.partition("=")
    if not sign or _is_ours(name):
        return None
    kept = [one.strip() for one in attributes if one.partition("=")[0].strip().lower() in KEPT]
    return "; ".join([pair.strip(), *kept, f"Path={path}"])


def all_sent_up(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The one Cookie header that goes up, or none."""
    found = [sent_up(value) for name, value in headers if name.lower() == "cookie"]
    text = "; ".join(one for one in found if one)
    return [("Cookie", text)] if text else []
