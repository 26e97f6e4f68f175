"""Answers: JSON bodies, and errors as a Kubernetes Status that says what, why and what to do."""

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


def json_answer(body: bytes, status: int = 200, content_type: str = JSON) -> web.Response:
    response = web.Response(body=body, status=status)
    headers = response.headers
    headers["Content-Type"] = content_type
    for name, value in SECURITY_HEADERS:
        headers[name] = value
    return response


def document(value: Any, status: int = 200) -> web.Response:
    return json_answer(msgspec.json.encode(value) + b"\n", status)


def problem_answer(problem: Problem, request_id: str) -> web.Response:
    """`edge` repeats the code in the form that the console translates (console §5.1)."""
    after_s = retry_after_s(problem)
    edge: dict[str, Any] = {
        "code": camel(problem.code),
        "params": dict(problem.params),
        "next": next_steps(problem, after_s),
        "requestId": request_id,
    }
    if after_s:
        edge["retryAfterSeconds"] = after_s
    response = document({**problem.to_status(), "edge": edge}, problem.status)
    if after_s:
        response.headers["Retry-After"] = str(after_s)
    if isinstance(problem, NotAuthenticated):
        # RFC 6750 §3.1: a reason only where there was a token.
        reason = ', error="invalid_token"' if problem.code in BAD_TOKEN else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="edge-platform"{reason}'
    return response


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
