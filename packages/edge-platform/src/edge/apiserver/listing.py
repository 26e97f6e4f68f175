"""Which objects a list call asks for: selectors, search, order and pages (G3). Pure."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edge.apiserver.paths import Target
from edge.apiserver.store import Collection, Stored
from edge_kube.meta import Key
from edge_sdk.problem import Problem

LIMIT_MAX: Final = 10_000
DIGITS_MAX: Final = 20
ORDERS: Final[Mapping[str, Callable[[Stored], Any]]] = {
    "name": lambda item: item.key.name,
    "creationTime": lambda item: item.created,
    "createTime": lambda item: item.created,
    "creationTimestamp": lambda item: item.created,
    "displayName": lambda item: item.display_name,
}

Test = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """A list call after reading. page counts from 1; 0 means Kubernetes paging with `continue`."""

    labels: tuple[Test, ...] = ()
    name: str = ""
    namespace: str = ""
    text: str = ""
    order: str = ""
    descending: bool = False
    limit: int = 0
    page: int = 0
    after: Key | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it asks for everything, in the usual order."""
        return self == Query()


def read_query(target: Target, namespace: str = "") -> Query:
    """Raises Problem (400) that names the parameter and what it accepts."""
    order, descending = _order(target)
    page = number(target, "page", 1_000_000)
    token = target.first("continue")
    return Query(
        labels=read_selector(target.first("labelSelector")),
        name=_field_name(target.first("fieldSelector")),
        namespace=namespace or _field_namespace(target.first("fieldSelector")),
        text=(target.first("q") or target.first("name")).casefold(),
        order=order,
        descending=descending,
        limit=number(target, "limit", LIMIT_MAX),
        page=page,
        after=_read_token(token) if token else None,
    )


Shown = Callable[[Stored], bool]


def answer(collection: Collection, query: Query, shown: Shown | None = None) -> bytes:
    """The body of the list. shown: what the caller may see, None for all; the rest is not counted either."""
    if query.is_plain and shown is None:
        return collection.whole()
    seen = collection.ordered() if shown is None else filter(shown, collection.ordered())
    found = [item for item in seen if fits(item, query)]
    total = len(found)
    if query.order:
        found.sort(key=ORDERS[query.order], reverse=query.descending)
    if query.page:
        size = query.limit or 10
        return collection.body(found[(query.page - 1) * size : query.page * size], total=total)
    if query.after is not None:
        after = query.after
        found = [item for item in found if item.key > after]
    if not query.limit or len(found) <= query.limit:
        return collection.body(found, total=total)
    page = found[: query.limit]
    token = _token(page[-1].key)
    return collection.body(page, total=total, after=token, remaining=len(found) - query.limit)


def fits(item: Stored, query: Query) -> bool:
    """Whether selectors and search let an object through."""
    if query.namespace and item.key.namespace != query.namespace:
        return False
    if query.name and item.key.name != query.name:
        return False
    if query.text and query.text not in item.key.name and query.text not in item.display_name.casefold():
        return False
    return all(test(item.labels) for test in query.labels)


def _order(target: Target) -> tuple[str, bool]:
    sort = target.first("sort")
    order = target.first("sortBy") or sort.lstrip("-")
    if not order:
        return "", False
    if order not in ORDERS:
        raise _bad("sortBy", order, "there is no such column", ", ".join(sorted(ORDERS)))
    descending = sort.startswith("-") or target.first("ascending").lower() == "false"
    return order, descending


def number(target: Target, key: str, most: int, *, least: int = 0, default: int = 0) -> int:
    """A whole number among the parameters. Raises Problem (400) that says what is accepted."""
    text = target.first(key)
    if not text:
        return default
    # The length first: Python refuses to read a number of thousands of digits.
    is_whole = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    if not is_whole or not least <= int(text) <= most:
        raise _bad(key, text, "it is not a whole number in range", f"{least} to {most}")
    return int(text)


def _field_name(selector: str) -> str:
    return _fields(selector).get("metadata.name", "")


def _field_namespace(selector: str) -> str:
    return _fields(selector).get("metadata.namespace", "")


def _fields(selector: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, selector.split(",")):
        key, _, value = part.replace("==", "=").partition("=")
        if key not in ("metadata.name", "metadata.namespace") or not value:
            accepted = "metadata.name=NAME and metadata.namespace=NAMESPACE"
            raise _bad("fieldSelector", selector, f'"{part[:80]}" is not supported', accepted)
        found[key] = value
    return found


_PART = re.compile(r"[^,(]*(?:\([^)]*\))?[^,(]*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_EQUAL = re.compile(rf"({_LABEL})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)")
_IN = re.compile(rf"({_LABEL})\s+(in|notin)\s+\(([^)]*)\)")
_EXISTS = re.compile(rf"(!?)\s*({_LABEL})")


def read_selector(selector: str) -> tuple[Test, ...]:
    """A Kubernetes label selector as tests that must all hold. Raises Problem (400)."""
    parts = [part.strip() for part in _PART.findall(selector)]
    return tuple(_label_test(part, selector) for part in parts if part)


def _label_test(part: str, selector: str) -> Test:
    if match := _EQUAL.fullmatch(part):
        key, sign, value = match.groups()
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _IN.fullmatch(part):
        key, word, listed = match.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match := _EXISTS.fullmatch(part):
        absent, key = bool(match[1]), match[2]
        return lambda labels: (key in labels) is not absent
    accepted = "key=value, key!=value, key in (a,b), key notin (a,b), key, !key"
    raise _bad("labelSelector", selector, f'"{part[:80]}" is not understood', accepted)


def _token(key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _read_token(token: str) -> Key:
    try:
        pair: Sequence[str] = msgspec.json.decode(
            base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)), type=tuple[str, str]
        )
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _bad(
            "continue", token, "this gateway did not give that token", "the value of the last page"
        ) from None
    return Key(*pair)


def _bad(key: str, value: str, why: str, accepted: str) -> Problem:
    return Problem(
        "bad-parameter",
        what=f'The parameter {key} is "{value[:200]}"',
        why=why,
        do=f"accepted: {accepted}",
    )
