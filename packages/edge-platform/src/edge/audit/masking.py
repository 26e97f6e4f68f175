"""What of a request's body may enter the trail: paths, and a hash of the body without its secrets. Pure (S5).

Values never do. Even a hash of a short password could be guessed back, so secrets are taken out before
hashing, and a body that cannot be read is not hashed.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

MASK: Final = "***"
PATHS_MAX: Final = 64
PATH_MAX: Final = 160
DEPTH_MAX: Final = 40
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase)?$|password|secret|token|credential|kubeconfig|private.?key|api.?key|access.?key|"
    r"^auth$|authorization|^\.?dockerconfig",
    re.IGNORECASE,
)
_NAMES_SECRETS: Final = re.compile(
    r"(ref|refs|name|names|namespace|policy|seconds|expire|type)$", re.IGNORECASE
)
_LAST_APPLIED_TAIL: Final = LAST_APPLIED.replace("/", "~1")
_VARIABLE: Final = re.compile(r"/env/\d+/value$")


def masked_body(resource: str, body: bytes | None) -> tuple[str, tuple[str, ...], Any]:
    """(SHA-256 of the masked body in hex, the paths that it sets, the masked document).

    All empty for a body that is none, or is neither JSON object nor JSON patch.
    """
    if not body:
        return "", (), None
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return "", (), None
    if not isinstance(document, dict | list):
        return "", (), None
    masked: Any = mask(cast("Any", document), secret=resource == "secrets")
    digest = hashlib.sha256(msgspec.json.encode(masked, order="sorted")).hexdigest()
    paths: list[str] = []
    for path in _patched(cast("list[Any]", masked)) if isinstance(masked, list) else _paths(masked, ""):
        if len(paths) == PATHS_MAX:
            break
        paths.append(path[:PATH_MAX])
    return digest, tuple(paths), cast("Any", masked)


def mask(value: Any, *, secret: bool = False, depth: int = 0) -> Any:
    """A copy in which values under secret names are `***`. secret: the value is part of a Secret."""
    if depth > DEPTH_MAX:
        return MASK
    if isinstance(value, list):
        found = cast("list[Any]", value)
        return [mask(item, secret=secret, depth=depth + 1) for item in found]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    secret = secret or fields.get("kind") == "Secret"
    named = _is_secret(str(fields.get("name", ""))) or _patches_secret(fields, secret=secret)
    out: dict[str, Any] = {}
    for key, one in fields.items():
        if key == LAST_APPLIED:
            continue
        if (secret and key in ("data", "stringData")) or _is_secret(key) or (named and key == "value"):
            out[key] = _hidden(one)
        else:
            out[key] = mask(one, secret=secret, depth=depth + 1)
    return out


def _is_secret(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _NAMES_SECRETS.search(key)


def _patches_secret(fields: dict[str, Any], *, secret: bool) -> bool:
    """An entry of a JSON patch whose path leads to a secret."""
    path = fields.get("path")
    if not isinstance(path, str) or "op" not in fields:
        return False
    parts = path.split("/")
    if _VARIABLE.search(path) or path.endswith(_LAST_APPLIED_TAIL):  # what it holds is not told by a name
        return True
    return any(_is_secret(part) for part in parts) or (secret and ("data" in parts or "stringData" in parts))


def _hidden(value: Any, depth: int = 0) -> Any:
    """The same shape with every value hidden: the names of a Secret's keys stay."""
    if isinstance(value, dict) and depth < DEPTH_MAX:
        return {key: _hidden(one, depth + 1) for key, one in cast("dict[str, Any]", value).items()}
    return MASK


def _patched(entries: list[Any]) -> Iterator[str]:
    """Where the entries of a JSON patch lead, and what their values set below."""
    for entry in entries:
        fields = cast("dict[str, Any]", entry if isinstance(entry, dict) else {})
        path = fields.get("path")
        if isinstance(path, str) and fields.get("op") != "test":
            parts = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
            yield from _paths(fields.get("value"), ".".join(parts))


def _paths(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, one in cast("dict[str, Any]", value).items():
            yield from _paths(one, f"{at}.{key}" if at else key)
    elif isinstance(value, list) and value:
        for position, one in enumerate(cast("list[Any]", value)):
            yield from _paths(one, f"{at}[{position}]")
    else:
        yield at
