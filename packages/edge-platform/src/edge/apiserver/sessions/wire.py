"""Forms that the OAuth endpoints read, and their answers: in the body, or as the console's cookies."""

from typing import Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.bodies import read_body
from edge.apiserver.sessions.credential import REFRESH_COOKIE, SESSION_COOKIE, came_encrypted
from edge.apiserver.sessions.errors import OAuthError
from edge.apiserver.sessions.store import Granted

FORM_MAX_BYTES: Final = 16 * 1024
MODE_HEADER: Final = "X-Edge-Session"
REFRESH_PATH: Final = "/oauth"


async def read_form(request: web.BaseRequest) -> dict[str, str]:
    """A form, or a JSON object of strings. Raises OAuthError."""
    body = await read_body(request, FORM_MAX_BYTES) or b""
    if request.content_type == "application/json":
        try:
            return msgspec.json.decode(body, type=dict[str, str])
        except msgspec.MsgspecError:
            raise OAuthError(400, "invalid_request", "the JSON body must be an object of strings") from None
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise OAuthError(400, "invalid_request", "the form is not UTF-8, or has too many fields") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError(400, "invalid_request", "a field of the form is given twice")
    return form


def error_answer(error: OAuthError) -> web.Response:
    answer = document({"error": error.error, "error_description": str(error)}, error.status)
    if error.status == 401:
        # Basic is for the client's secret. After a person's wrong password it would make a browser open a
        # window of its own that asks for another.
        scheme = "Basic" if error.error == "invalid_client" else "Bearer"
        answer.headers["WWW-Authenticate"] = f'{scheme} realm="edge-platform"'
    return answer


def wants_cookies(request: web.BaseRequest) -> bool:
    """Whether the tokens are to be kept from scripts. A form of another site cannot send this header."""
    return request.headers.get(MODE_HEADER, "").lower() == "cookie"


def token_answer(request: web.BaseRequest, granted: Granted) -> web.Response:
    """RFC 6749 §5.1; with cookies, nothing in the body lets anybody in."""
    body: dict[str, str | int] = {"token_type": "Bearer", "expires_in": granted.expires_in_s}
    if granted.scope:
        body["scope"] = granted.scope
    if wants_cookies(request):
        del body["token_type"]
        answer = document(body)
        set_cookies(request, answer, granted)
        return _kept_by_nobody(answer)
    tokens = {
        "access_token": granted.access_token,
        "refresh_token": granted.refresh_token,
        "id_token": granted.id_token,
    }
    return _kept_by_nobody(document({name: text for name, text in tokens.items() if text} | body))


def _kept_by_nobody(answer: web.Response) -> web.Response:
    """RFC 6749 §5.1 asks for both headers; the other one is on every answer."""
    answer.headers["Pragma"] = "no-cache"
    return answer


def set_cookies(request: web.BaseRequest, answer: web.Response, granted: Granted) -> None:
    _set(request, answer, SESSION_COOKIE, granted.access_token, granted.expires_in_s, "/")
    if granted.refresh_token:
        _set(request, answer, REFRESH_COOKIE, granted.refresh_token, granted.session_ends_s, REFRESH_PATH)


def clear_cookies(request: web.BaseRequest, answer: web.Response) -> None:
    for name, path in ((SESSION_COOKIE, "/"), (REFRESH_COOKIE, REFRESH_PATH)):
        if name in request.cookies:
            _set(request, answer, name, "", 0, path)


def _set(
    request: web.BaseRequest, answer: web.Response, name: str, value: str, age_s: int, path: str
) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=age_s,
        path=path,
        httponly=True,
        samesite="Strict",
        # Over plain http a Secure cookie would be dropped (not by all browsers on 127.0.0.1, but by some), so
        # that nobody could sign in to the embedded console; see docs/authentication.md.
        secure=came_encrypted(request) or None,
    )
