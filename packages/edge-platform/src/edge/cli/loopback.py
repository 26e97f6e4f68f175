"""Where a browser brings an answer to: one address on this machine, for one answer (RFC 8252 §7.3).

    async with Loopback(state) as back:
        …                                    # send the browser away, to come back to back.uri
        answer = await back.answer()

Any page and any program of this machine can ask here. So what lacks the state is told that it is wrong, and
ends nothing.
"""

import asyncio
import hmac
import socket
from html import escape
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl

from aiohttp import web

from edge.cli.errors import CommandError
from edge.iam.oauthclients import CALLBACK

CLOSING_S: Final = 2.0
"""How long an answer to the browser may take when the command ends."""
POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Loopback:
    def __init__(self, state: str) -> None:
        self._state = state
        self._answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=CLOSING_S)
        self.uri = ""

    async def __aenter__(self) -> Self:
        """Raises CommandError."""
        listening = _listening()
        host, port = listening.getsockname()[:2]
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()
        self.uri = f"http://{f'[{host}]' if ':' in host else host}:{port}{CALLBACK}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def answered(self) -> bool:
        return self._answer.done()

    async def answer(self) -> dict[str, str]:
        """The query that the browser came back with; its state is right."""
        return await self._answer

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (request.method, request.path) != ("GET", CALLBACK):
            return _page(404, "Nothing is here", "This address is for one answer to `edge login`.")
        pairs = parse_qsl(request.query_string, keep_blank_values=True)
        given = dict(pairs)
        is_ours = hmac.compare_digest(given.get("state", "").encode(), self._state.encode())
        if not is_ours or len(given) != len(pairs):
            what = "This answer belongs to another sign-in, and was not used."
            return _page(400, what, "Open the address that the terminal shows.")
        if self._answer.done():
            return _page(400, "There was an answer already", "The terminal says what came of it.")
        self._answer.set_result(given)
        return _page(
            200, "Back to the terminal", "It says whether you are signed in. You may close this page."
        )


def _listening() -> socket.socket:
    """A port that nobody else has; IPv6 where there is nothing else. Raises CommandError."""
    try:
        return socket.create_server(("127.0.0.1", 0))
    except OSError:
        pass
    try:
        return socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        raise CommandError(
            f"A browser could not come back to this machine: no port can be listened on ({error})."
        ) from None


def _page(status: int, title: str, text: str) -> web.Response:
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>
<body><h1>{escape(title)}</h1><p>{escape(text)}</p></body></html>
"""
    response = web.Response(status=status, text=body, content_type="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"  # the address of this page holds a code
    response.force_close()
    return response
