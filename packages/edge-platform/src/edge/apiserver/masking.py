"""What the gateway never shows: password hashes to anybody, credentials of clusters to most (I14, X14). Pure.

kubectl's annotation of the last applied object repeats the fields, so it is masked by the same rule. The rest
of it stays: without it kubectl would not know what to take away, and would change unchanged objects (P4).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

Json = dict[str, Any]

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def as_map(value: Any) -> Json:
    """The JSON object that `value` is, or an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def _mask_user(spec: Json) -> None:
    spec.pop("encryptedPassword", None)


def _mask_cluster(spec: Json) -> None:
    for secret in ("kubeconfig", "token"):
        as_map(spec.get("connection")).pop(secret, None)


_SPEC_MASKS: Final[Mapping[tuple[str, str], Callable[[Json], None]]] = {
    ("iam.theriseunion.io", "users"): _mask_user,
    ("scope.theriseunion.io", "clusters"): _mask_cluster,
}


def is_masked(group: str, resource: str) -> bool:
    return (group, resource) in _SPEC_MASKS


def mask_object(group: str, resource: str, obj: Json) -> Json:
    """Take the secret fields out of one decoded object, in place."""
    mask = _SPEC_MASKS.get((group, resource))
    if mask is None:
        return obj
    mask(as_map(obj.get("spec")))
    metadata = as_map(obj.get("metadata"))
    metadata.pop("managedFields", None)
    annotations = as_map(metadata.get("annotations"))
    if LAST_APPLIED in annotations:
        applied = _applied(mask, annotations.pop(LAST_APPLIED))
        if applied:
            annotations[LAST_APPLIED] = applied
    return obj


def _applied(mask: Callable[[Json], None], text: Any) -> str:
    """What kubectl has noted of the last object applied, without the secret fields; "" for what is no object.

    As it was, byte for byte, when there were none: kubectl compares it with what it applies now.
    """
    try:
        before, after = msgspec.json.decode(text), msgspec.json.decode(text)
        mask(as_map(as_map(after).get("spec")))
        masked = text if before == after else msgspec.json.encode(after).decode()
    except (msgspec.DecodeError, TypeError, ValueError, ArithmeticError, RecursionError):
        return ""  # anybody may write anything there
    return masked if isinstance(before, dict) else ""


def mask_document(group: str, resource: str, body: bytes) -> bytes:
    """Mask an answer of the Kubernetes API: an object, a list, a table, a Status or a watch event.

    Raises msgspec.DecodeError for what is not JSON: it must not be passed on unread.
    """
    document = msgspec.json.decode(body)
    return msgspec.json.encode(_masked(group, resource, document))


def _masked(group: str, resource: str, document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    found = cast("Json", document)
    if isinstance(found.get("items"), list):
        found["items"] = [_masked(group, resource, item) for item in cast("list[Any]", found["items"])]
    elif isinstance(found.get("rows"), list):
        for row in cast("list[Any]", found["rows"]):
            mask_object(group, resource, as_map(as_map(row).get("object")))
    elif "type" in found and isinstance(found.get("object"), dict):
        found["object"] = _masked(group, resource, found["object"])
    else:
        mask_object(group, resource, found)
    return found


class LineMask:
    """Masks a watch: bytes in, whole masked lines out. Lines are bounded, as the API server's objects are."""

    LINE_MAX_BYTES: Final = 16 * 1024 * 1024

    def __init__(self, group: str, resource: str) -> None:
        self._group = group
        self._resource = resource
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Raises ValueError for a line beyond the bound, msgspec.DecodeError for one that is not JSON."""
        self._rest += chunk
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        if len(rest) > self.LINE_MAX_BYTES:
            raise ValueError("a watch line is longer than 16 MiB")
        return b"".join(mask_document(self._group, self._resource, line) + b"\n" for line in lines if line)
