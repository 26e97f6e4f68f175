"""Answers: JSON bodies, and errors as a Kubernetes Status that says what, why and what to do.

What is read as JSON has an ETag, and who has it already is told so (304; console §5.1, RFC 9110 §13.1.2).
"""

import hashlib
import math
import secrets
from typing import Any, Final

import msgspec
from aiohttp import web

from edge_sdk.problem import NotAuthenticated, Problem, TooMuch, Unavailable

JSON: Final = "application/json"
BAD_TOKEN: Final = frozenset({"token-invalid", "token-expired", "token-revoked", "account-disabled"})
SERVER: Final = "edge-apiserver"
SECURITY_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Server", SERVER),
)


TAGGED_BELOW_BYTES: Final = 1024 * 1024
"""What is longer has a tag where it is known without looking at every byte."""


class Answer(web.Response):
    """Of the gateway's own making, whole in memory."""


def json_answer(body: bytes, status: int = 200, content_type: str = JSON) -> web.Response:
    response = Answer(body=body, status=status)
    headers = response.headers
    headers["Content-Type"] = content_type
    for name, value in SECURITY_HEADERS:
        headers[name] = value
    return response


def document(value: Any, status: int = 200) -> web.Response:
    return json_answer(msgspec.json.encode(value) + b"\n", status)


def is_known(request: web.BaseRequest, tag: str) -> bool:
    """Whether who asks has what this tag stands for; weakly, as reading does."""
    wanted = tag.removeprefix("W/")
    offered = ",".join(request.headers.getall("If-None-Match", ()))
    return any(one.strip() == "*" or one.strip().removeprefix("W/") == wanted for one in offered.split(","))


def tag_of(body: bytes) -> str:
    return f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def unchanged(tag: str) -> web.Response:
    response = json_answer(b"", 304)
    response.headers["ETag"] = tag
    return response


def tagged(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """An answer to a reading with its ETag, or that nothing has changed; every other as it is."""
    if request.method not in ("GET", "HEAD") or response.status != 200 or response.prepared:
        return response
    if not isinstance(response, Answer) or "ETag" in response.headers or response.content_type != JSON:
        return response
    body = response.body
    if not isinstance(body, bytes) or len(body) > TAGGED_BELOW_BYTES:
        return response
    tag = tag_of(body)
    if is_known(request, tag):
        return unchanged(tag)
    response.headers["ETag"] = tag
    return response


def problem_answer(problem: Problem, request_id: str) -> web.Response:
    after_s = retry_after_s(problem)
    edge = edge_of(problem) | {"requestId": request_id}
    response = document({**problem.to_status(), "edge": edge}, problem.status)
    if after_s:
        response.headers["Retry-After"] = str(after_s)
    if isinstance(problem, NotAuthenticated):
        # RFC 6750 §3.1: a reason only where there was a token.
        reason = ', error="invalid_token"' if problem.code in BAD_TOKEN else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="edge-platform"{reason}'
    return response


def edge_of(problem: Problem) -> dict[str, Any]:
    """The code in the form that the console translates, and what may be done now (console §5.1)."""
    after_s = retry_after_s(problem)
    edge: dict[str, Any] = {
        "code": camel(problem.code),
        "params": dict(problem.params),
        "next": next_steps(problem, after_s),
    }
    return edge | ({"retryAfterSeconds": after_s} if after_s else {})


def retry_after_s(problem: Problem) -> int:
    """Whole seconds after which the same may work; 0 when waiting does not help."""
    if isinstance(problem, TooMuch):
        return max(1, math.ceil(problem.retry_after_s))
    return 1 if isinstance(problem, Unavailable) else 0


def next_steps(problem: Problem, after_s: int) -> list[dict[str, str]]:
    """What may be done now: {kind: retry | command | link | ask, value, label} (console §5.1).

    A command is what stands between backticks in `do`.
    """
    if after_s:
        return [{"kind": "retry", "value": str(after_s), "label": problem.do}]
    if not problem.do:
        return []
    _, quoted, rest = problem.do.partition("`edge ")
    command = rest.partition("`")[0]
    if quoted and command:
        return [{"kind": "command", "value": f"edge {command}", "label": problem.do}]
    if isinstance(problem, NotAuthenticated):
        return [{"kind": "link", "value": "/oauth/token", "label": problem.do}]
    return [{"kind": "ask", "value": "", "label": problem.do}]


def new_request_id() -> str:
    return secrets.token_hex(8)


def bug_answer(request_id: str) -> web.Response:
    """Our own mistake: the user gets the id under which the log tells more, and nothing else."""
    return document(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "reason": "InternalError",
            "message": f"The gateway made a mistake. Its log says more under request id {request_id}.",
            "code": 500,
            "edge": {"code": "InternalError", "params": {}, "next": [], "requestId": request_id},
        },
        500,
    )


def camel(code: str) -> str:
    """too-many-requests → TooManyRequests."""
    return "".join(part.capitalize() for part in code.split("-"))
