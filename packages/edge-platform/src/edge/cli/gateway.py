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

import msgspec

from edge_sdk.client import CallError, EdgeClient, GatewayError
from edge_sdk.client.http import FORM
from edge_sdk.client.models.shared import Token

T = TypeVar("T")

DEFAULT_SERVER: Final = "http://127.0.0.1:9090"
CLIENT: Final = {"client_id": "edge-console", "client_secret": "edge-secret"}
RIGHT_SERVER: Final = " Is --server right?"


class CommandError(Exception):
    """Ends the command. The text is for the person; code is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Kept(msgspec.Struct, omit_defaults=True):
    """What `edge login` writes down."""

    server: str = ""
    token: str = ""
    refresh: str = ""
    ca: str = ""


def kept_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "edge" / "session.json"


def keep(session: Kept) -> Path:
    """Write it so that nobody else can read it, not even for a moment."""
    path = kept_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.touch(mode=0o600, exist_ok=False)
        beside.write_bytes(msgspec.json.encode(session))
        beside.replace(path)
    except OSError as error:
        raise CommandError(f"{path} was not written: {error.strerror or error}.") from None
    return path


def kept() -> Kept:
    try:
        return msgspec.json.decode(kept_file().read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return Kept()


def add_flags(parser: argparse.ArgumentParser, *, token: bool = True) -> None:
    parser.add_argument("--server", default="", help=f"address of the gateway; {DEFAULT_SERVER} if unknown")
    parser.add_argument("--ca", default="", help="file of the certificates to trust, for https")
    if token:
        parser.add_argument("--token", default="", help="access token; better in EDGE_TOKEN than here")


def server_of(given: argparse.Namespace) -> str:
    found = given.server or os.environ.get("EDGE_SERVER") or kept().server or DEFAULT_SERVER
    return found.rstrip("/")


def ca_of(given: argparse.Namespace) -> str:
    found = given.ca or os.environ.get("EDGE_CA") or kept().ca
    if found and not Path(found).is_file():
        raise CommandError(f"There is no file {found} with certificates: give another with --ca.", 2)
    return found


def connected(
    given: argparse.Namespace, work: Callable[[EdgeClient], Awaitable[T]], *, signed_in: bool = True
) -> T:
    """What the work returns. signed_in: it needs a token. Raises CommandError with the gateway's words."""
    server, session, token = server_of(given), kept(), ""
    ours = session.server == server  # what one gateway gave is shown to no other
    if signed_in:
        token = given.token or os.environ.get("EDGE_TOKEN") or (session.token if ours else "")
        if not token:
            raise CommandError(f"You are not signed in to {server}. Run `edge login`, or set EDGE_TOKEN.")
    ca = ca_of(given)

    async def source(refused: str) -> str:
        return await _renewed(server, ca, token) if refused == token else token

    async def run() -> T:
        async with EdgeClient(server, source if token else "", ca=ca) as edge:
            return await work(edge)

    try:
        return asyncio.run(run())
    except GatewayError as error:
        raise CommandError(_sentence(error), code=2 if error.http_status in (400, 422) else 1) from None
    except CallError as error:
        raise CommandError(f"{error}{RIGHT_SERVER}") from None
    except (OSError, ValueError) as error:  # a CA file that is none, an address that is none
        raise CommandError(
            f"The gateway at {server} was not asked: {error}. Check --server and --ca."
        ) from None


def ask(given: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    """The gateway's answer. Raises CommandError with its words."""

    async def work(edge: EdgeClient) -> Any:
        return await edge.call(method, path, object, body=body)

    return connected(given, work)


async def _renewed(server: str, ca: str, token: str) -> str:
    """Another token for the one that was kept and is refused; the same where nothing can be done."""
    session = kept()
    if not session.refresh or session.token != token or session.server != server:
        return token
    form = {"grant_type": "refresh_token", "refresh_token": session.refresh, **CLIENT}
    async with EdgeClient(server, ca=ca) as edge:
        try:
            found = await edge.call("POST", "/oauth/token", Token, body=form, body_as=FORM)
        except CallError:
            return token
    keep(Kept(server, found.access_token, found.refresh_token or session.refresh, session.ca))
    return found.access_token


def _sentence(error: GatewayError) -> str:
    if error.http_status == 401 and error.code.startswith("Token"):
        return f"{error} Run `edge login`."
    return str(error)
