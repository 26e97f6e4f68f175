"""No secret leaves Helm's messages: values under telling names, and credentials, are replaced (S-rules)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

_TELLING = re.compile(r"pass|secret|token|credential|private|apikey|api_key|key$|htpasswd|dsn", re.IGNORECASE)
_PATTERNS = (
    re.compile(r"(?i)(bearer\s+|password=|token=)[^\s\"',]+"),
    re.compile(r"://[^/\s:@]+:[^/\s@]+@"),
    re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
)
_SHORTEST = 4  # shorter values would blacken ordinary words


def secrets_in(values: Any, *, telling: bool = False) -> set[str]:
    """Texts of `values` that lie under a name such as password or token, at any depth."""
    found: set[str] = set()
    if isinstance(values, Mapping):
        for name, item in cast("Mapping[str, Any]", values).items():
            found |= secrets_in(item, telling=telling or bool(_TELLING.search(str(name))))
    elif isinstance(values, (list, tuple)):
        for item in cast("list[Any]", values):
            found |= secrets_in(item, telling=telling)
    elif telling and isinstance(values, str) and len(values) >= _SHORTEST:
        found.add(values)
    return found


def masked(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    for pattern in _PATTERNS:
        text = pattern.sub("***", text)
    return text
