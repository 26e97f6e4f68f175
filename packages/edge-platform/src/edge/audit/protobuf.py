"""Objects that come as protobuf, as typed clients send them: `kubectl create configmap X`. Pure.

`k8s\\0`, then a runtime.Unknown whose field 2 is the object; field 1 of every object is its ObjectMeta, and
field 1 of that the name. Nothing is read but what is asked for: what may be a secret is not looked at.
"""

from typing import Final

MAGIC: Final = b"k8s\0"
OBJECT: Final = 2
METADATA: Final = 1
NAME: Final = 1
NAME_MAX: Final = 253
_FIXED: Final = {1: 8, 5: 4}


def object_name(body: bytes) -> str:
    """ "" for what is no such object, or has no name."""
    try:
        found = field(field(object_in(body), METADATA), NAME).decode()
    except ValueError:
        return ""
    return found if found.isprintable() and len(found) <= NAME_MAX else ""


def object_in(body: bytes) -> bytes:
    """The message of the object itself. Raises ValueError."""
    if not body.startswith(MAGIC):
        raise ValueError("it does not begin as an object of Kubernetes")
    return field(body[len(MAGIC) :], OBJECT)


def field(message: bytes, number: int) -> bytes:
    """The first field of that number with a length; b"" for none. Raises ValueError."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field is longer than what it is in")
            if tag >> 3 == number:
                return message[at : at + size]
            at += size
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise ValueError(f"wire type {kind} is none")
    return b""


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(value, place behind it). Raises ValueError."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("it breaks off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")
