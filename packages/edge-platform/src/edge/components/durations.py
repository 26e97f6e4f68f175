"""Go durations, as `spec.timeout` and Helm write them. Pure."""

import re

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")


def is_duration(text: str) -> bool:
    return bool(_WHOLE.fullmatch(text))


def seconds_of(text: str) -> float:
    """`5m`, `1h30m`, `300s` → seconds. Raises ValueError."""
    if not is_duration(text):
        raise ValueError(f'"{text}" is no duration such as 300s or 5m')
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
