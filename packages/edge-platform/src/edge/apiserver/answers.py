"""Answers: JSON bodies, and errors as a Kubernetes Status that says what, why and what to do."""

import math
from typing import Any, Final

import msgspec
from aiohttp import web

from edge_sdk.problem import NotAuthenticated, Problem, TooMuch, Unavailable

JSON: Final = "application/json"
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
    edge: dict[str, Any] = {"code": camel(problem.code), "requestId": request_id}
    if problem.params:
        edge["params"] = problem.params
    body: dict[str, Any] = {**problem.to_status(), "edge": edge}
    response = document(body, problem.status)
    if isinstance(problem, TooMuch):
        edge["retryAfterSeconds"] = problem.retry_after_s
        response = document(body, problem.status)
        response.headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    elif isinstance(problem, Unavailable):
        response.headers["Retry-After"] = "1"
    elif isinstance(problem, NotAuthenticated):
        response.headers["WWW-Authenticate"] = 'Bearer realm="edge-platform"'
    return response


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
            "edge": {"code": "InternalError", "requestId": request_id},
        },
        500,
    )


def camel(code: str) -> str:
    """too-many-requests → TooManyRequests."""
    return "".join(part.capitalize() for part in code.split("-"))
