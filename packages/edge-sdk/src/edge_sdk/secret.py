"""A value that must not be shown: it prints as *** in logs, errors, reprs and formatted text."""

import hmac


class Secret:
    """Wraps a text or bytes. `reveal()` is the only way to the value; comparison takes constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value.decode() if isinstance(value, bytes) else value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # a secret has no place as a key

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not serialised; pass a reference to where it is kept")
