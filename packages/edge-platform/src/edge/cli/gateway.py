"""Talking to a gateway from the command line: where it is, who asks, and its errors as sentences.

Flag over environment (EDGE_SERVER, EDGE_TOKEN, EDGE_CA) over what `edge login` has kept, in a file of its
owner's. Every command goes through `connected`, so that all of them wait, renew and fail alike.
"""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from edge.cli.errors import CommandError as CommandError
from edge.cli.session_file import kept, renewed
from edge_sdk.client import CallError, EdgeClient, GatewayError

T = TypeVar("T")

ANSWER_WITHIN_S: Final = 30.0
DEFAULT_SERVER: Final = "http://127.0.0.1:9090"
RIGHT_SERVER: Final = " Is --server right?"
OTHER_CA: Final = " Name the file of the certificates to trust with --ca."


def add_flags(parser: argparse.ArgumentParser, *, token: bool = True) -> None:
    parser.add_argument("--server", default="", help=f"address of the gateway; {DEFAULT_SERVER} if unknown")
    parser.add_argument("--ca", default="", help="file of the certificates to trust, for https")
    if token:
        parser.add_argument("--token", default="", help="access token; better in EDGE_TOKEN than here")


def server_of(given: argparse.Namespace) -> str:
    """Raises CommandError for what is no address."""
    found = given.server or os.environ.get("EDGE_SERVER") or kept().server or DEFAULT_SERVER
    if not _is_address(found):
        raise CommandError(f'"{found}" is no address of a gateway: write https://HOST:PORT.', 2)
    return found.rstrip("/")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def ca_of(given: argparse.Namespace) -> str:
    found = given.ca or os.environ.get("EDGE_CA") or kept().ca
    if found and not Path(found).is_file():
        raise CommandError(f"There is no file {found} with certificates: give another with --ca.", 2)
    return found


def connected(
    given: argparse.Namespace,
    work: Callable[[EdgeClient], Awaitable[T]],
    *,
    signed_in: bool = True,
    within_s: float = ANSWER_WITHIN_S,
) -> T:
    """What the work returns. signed_in: it needs a token. Raises CommandError with the gateway's words.

    within_s: for each answer. What goes wrong with the output is raised as it is.
    """
    server, session, token = server_of(given), kept(), ""
    ours = session.server == server  # what one gateway gave is shown to no other
    if signed_in:
        token = given.token or os.environ.get("EDGE_TOKEN") or (session.token if ours else "")
        if not token:
            raise CommandError(f"You are not signed in to {server}. Run `edge login`, or set EDGE_TOKEN.")
    ca = ca_of(given)
    is_kept = bool(token) and ours and token == session.token

    async def source(refused: str) -> str:
        if not refused:
            return token
        return await renewed(session, refused, ca) if is_kept else refused

    async def run() -> T:
        async with EdgeClient(server, source if token else "", ca=ca, timeout_s=within_s) as edge:
            return await work(edge)

    try:
        return asyncio.run(run())
    except GatewayError as error:
        raise CommandError(_sentence(error), code=2 if error.http_status in (400, 422) else 1) from None
    except CallError as error:
        raise CommandError(f"{error}{OTHER_CA if 'certificate' in str(error) else RIGHT_SERVER}") from None


def ask(
    given: argparse.Namespace,
    method: str,
    path: str,
    body: Any = None,
    *,
    within_s: float = ANSWER_WITHIN_S,
) -> Any:
    """The gateway's answer. Raises CommandError with its words."""

    async def work(edge: EdgeClient) -> Any:
        return await edge.call(method, path, object, body=body)

    return connected(given, work, within_s=within_s)


def _sentence(error: GatewayError) -> str:
    if error.http_status == 401 and error.code.startswith("Token"):
        return f"{error} Run `edge login`."
    return str(error)
