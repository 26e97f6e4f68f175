"""What is told of a route. It stands beside its handler, in a tuple OPERATIONS of the same module:

    OPERATIONS = (
        Operation("GET", f"{IAM}/me", "Who I am", "me", answer=Me),
        Operation("PUT", f"{IAM}/users/{{name}}/password", "Set a password", "me", body=NewPassword),
    )

The document, its page, the Python client and the probes of the tests are made from these; the gateway does
not serve a route that none of them describes. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

IAM: Final = "/oapis/iam.theriseunion.io/v1alpha1"
AUDIT: Final = "/oapis/audit.theriseunion.io/v1alpha1"
CONSOLE: Final = "/oapis/console.theriseunion.io/v1alpha1"
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
HTML: Final = "text/html"

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Errors = Literal["status", "oauth", "page"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of the query (or, by `place`, a header). type: a msgspec type; many: may be repeated."""

    name: str
    about: str
    type: Any = str
    many: bool = False
    required: bool = False
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """path: parameters in braces, each one segment; the last may be {name+}, that takes several.

    answer, body: msgspec types; None is no content that is worth a schema. answers_as, body_as: media types.
    answers_also: others that an answer may have, such as for who accepts no JSON. public: asked without a
    token. status: of the answer when all is well. refuses: other statuses than 400, 401, 403, 404, 429 and
    503 that a caller has to expect. errors: what refusals look like: a Kubernetes Status, RFC 6749 §5.2, or
    a page for a person. name: operationId; made of method and path when empty.
    """

    method: Method
    path: str
    summary: str
    tag: str = "other"
    about: str = ""
    answer: Any = None
    answers_as: str = JSON
    answers_also: tuple[str, ...] = ()
    body: Any = None
    body_as: tuple[str, ...] = (JSON,)
    params: tuple[Param, ...] = ()
    public: bool = False
    status: int = 200
    refuses: tuple[int, ...] = ()
    errors: Errors = "status"
    name: str = ""
    extra: Mapping[str, Any] | None = None
    """Keys for the document itself, such as x-edge-kind."""

    @property
    def id(self) -> str:
        return self.name or self.method.lower() + "".join(_word(part) for part in _tail(self.path))

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self.path.strip("/").split("/"))


class UndescribedError(RuntimeError):
    """A route is served that the document does not tell of: a bug of ours."""


class Described:
    """Which routes are described; asked for every request to a route of the gateway's own."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._exact: dict[tuple[str, int], list[tuple[str, ...]]] = {}
        self._open: dict[str, list[tuple[str, ...]]] = {}
        for one in operations:
            if one.segments[-1].endswith("+}"):
                self._open.setdefault(one.method, []).append(one.segments)
            else:
                self._exact.setdefault((one.method, len(one.segments)), []).append(one.segments)

    def require(self, routes: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        """Raises UndescribedError, which names the routes without an entry."""
        missing = [
            f"{method} /{'/'.join(segments)}" for method, segments in routes if not self.has(method, segments)
        ]
        if missing:
            raise UndescribedError(
                f"Routes without an entry in the OpenAPI document: {', '.join(missing)}. Declare each "
                "in OPERATIONS of the module that serves it, as edge/apiserver/openapi/operation.py shows, "
                "and run `make gen`."
            )

    def has(self, method: str, segments: tuple[str, ...]) -> bool:
        """HEAD is described with GET."""
        method = "GET" if method == "HEAD" else method
        exact = self._exact.get((method, len(segments)), ())
        if any(_fits(template, segments) for template in exact):
            return True
        return any(
            len(segments) >= len(template) and _fits(template[:-1], segments)
            for template in self._open.get(method, ())
        )


def _fits(template: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    return all(want == have or want[:1] == "{" for want, have in zip(template, segments, strict=False))


def _tail(path: str) -> list[str]:
    """The parts that tell routes apart: without /oapis/GROUP/VERSION."""
    parts = path.strip("/").split("/")
    return parts[3:] if parts[0] == "oapis" and len(parts) > 3 else parts


def _word(part: str) -> str:
    text = part.strip("{}+").replace(".", "-").replace("_", "-")
    return "".join(piece[:1].upper() + piece[1:] for piece in text.split("-"))
