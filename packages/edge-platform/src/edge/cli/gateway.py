"""Talking to a gateway from the command line: where it is, who asks, and its errors as sentences.

Flag over environment (EDGE_SERVER, EDGE_TOKEN) over what `edge login` has kept, in a file of its owner's.
"""

import argparse
import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

DEFAULT_SERVER: Final = "http://127.0.0.1:9090"
TIMEOUT_S: Final = 30.0
TRIES: Final = 4
RETRY_AFTER_S: Final = 1.0


class CommandError(Exception):
    """Ends the command. The text is for the person; code is the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Kept(msgspec.Struct):
    """What `edge login` writes down."""

    server: str
    token: str


def kept_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "edge" / "session.json"


def keep(session: Kept) -> Path:
    """Write it so that nobody else can read it, not even for a moment."""
    path = kept_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600, exist_ok=False)
    beside.write_bytes(msgspec.json.encode(session))
    beside.replace(path)
    return path


def _kept() -> Kept:
    try:
        return msgspec.json.decode(kept_file().read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):
        return Kept("", "")


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", default="", help=f"address of the gateway; {DEFAULT_SERVER} if unknown")
    parser.add_argument("--token", default="", help="access token; better in EDGE_TOKEN than here")


def server_of(given: argparse.Namespace) -> str:
    found = given.server or os.environ.get("EDGE_SERVER") or _kept().server or DEFAULT_SERVER
    return found.rstrip("/")


def ask(given: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    """The gateway's answer. Raises CommandError with its words."""
    token = given.token or os.environ.get("EDGE_TOKEN") or _kept().token
    if not token:
        raise CommandError("You are not signed in. Run `edge login`, or set EDGE_TOKEN.")
    return send(server_of(given), method, path, token=token, json=body)


def send(server: str, method: str, path: str, *, token: str = "", **options: Any) -> Any:
    """One request. Raises CommandError."""
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        status, raw = asyncio.run(_patiently(method, f"{server}{path}", headers, options))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = str(error) or "no answer in time"
        raise CommandError(f"The gateway at {server} was not reached: {why}. Is --server right?") from None
    try:
        answer = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise CommandError(
            f"{server} answered {status}, and not as a gateway does. Is --server right?"
        ) from None
    if status >= 400:
        said = answer.get("message") or answer.get("error_description") or answer.get("error") or str(status)
        raise CommandError(str(said), code=2 if status in (400, 422) else 1)
    return answer


async def _patiently(
    method: str, url: str, headers: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[int, bytes]:
    """Asks again when the gateway says "not now", as kubectl does."""
    for _ in range(TRIES - 1):
        status, raw = await _send(method, url, headers, options)
        if status != 503:
            return status, raw
        await asyncio.sleep(RETRY_AFTER_S)
    return await _send(method, url, headers, options)


async def _send(
    method: str, url: str, headers: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[int, bytes]:
    limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.request(method, url, headers=headers, **options) as response,
    ):
        return response.status, await response.read()
