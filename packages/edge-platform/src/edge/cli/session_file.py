"""What `edge login` keeps, and its renewal: one file of its owner's, changed by one process at a time.

A refresh token is good once (RFC 6749 §10.4): of two processes that swap it, the second would be taken for a
thief. So whoever swaps holds a lock, and reads the file again before.
"""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from edge.cli.errors import CommandError
from edge_sdk.client import CallError, EdgeClient
from edge_sdk.client.http import FORM
from edge_sdk.client.models.shared import Token

PUBLISHED: Final = ("edge-console", "edge-secret")
"""The client that the platform comes with; an installation may have another."""
LOCK_WAIT_S: Final = 60.0
LOCK_POLL_S: Final = 0.05


class Kept(msgspec.Struct, omit_defaults=True):
    """What `edge login` writes down."""

    server: str = ""
    user: str = ""
    token: str = ""
    refresh: str = ""
    ca: str = ""
    client: str = PUBLISHED[0]
    secret: str = PUBLISHED[1]

    @property
    def as_client(self) -> dict[str, str]:
        """What the program says of itself at /oauth; a public client has no secret."""
        return {"client_id": self.client} | ({"client_secret": self.secret} if self.secret else {})


def kept_file() -> Path:
    """Raises CommandError where nobody knows a home, as in a container with a user id of its own."""
    try:
        home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    except RuntimeError:
        raise CommandError(
            "There is no home folder to keep a session in: set HOME, or use EDGE_TOKEN."
        ) from None
    return Path(home) / "edge" / "session.json"


def kept() -> Kept:
    try:
        return msgspec.json.decode(kept_file().read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError, CommandError):
        return Kept()


def keep(session: Kept) -> Path:
    """Whole or not at all, and nobody else can read it, not even for a moment. Raises CommandError."""
    path = kept_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, beside = tempfile.mkstemp(prefix=".session-", dir=path.parent)  # 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.encode(session))
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        finally:
            Path(beside).unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} was not written: {error.strerror or error}.") from None
    return path


@asynccontextmanager
async def locked() -> AsyncGenerator[None]:
    """One process at a time changes the file; the others wait. Raises CommandError."""
    path = kept_file().with_suffix(".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(f"{path} was not written: {error.strerror or error}.") from None
    try:
        await _lock(number, path)
        yield
    finally:
        os.close(number)  # and the lock is gone with it


async def _lock(number: int, path: Path) -> None:
    """By asking again: a thread that waits for a lock could not be interrupted."""
    try:
        async with asyncio.timeout(LOCK_WAIT_S):
            while True:
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(LOCK_POLL_S)
                else:
                    return
    except TimeoutError:
        raise CommandError(
            f"Another `edge` has held {path} for {LOCK_WAIT_S:.0f} s: end it, then try again."
        ) from None


async def renewed(session: Kept, refused: str, ca: str) -> str:
    """A token for the kept one that is refused; `refused` itself where nothing can be done.

    session: what the command began with. It goes on as the same user at the same gateway, or not at all.
    """
    try:
        async with locked():
            now = kept()
            if (now.server, now.user) != (session.server, session.user):
                return refused
            if now.token != refused:  # another process was faster
                return now.token
            return await _swapped(now, ca) if now.refresh else refused
    except CommandError:  # no place to write: then it must not be swapped either
        return refused


async def _swapped(session: Kept, ca: str) -> str:
    """Raises CommandError."""
    form = {"grant_type": "refresh_token", "refresh_token": session.refresh, **session.as_client}
    async with EdgeClient(session.server, ca=ca) as edge:
        try:
            found = await edge.call("POST", "/oauth/token", Token, body=form, body_as=FORM)
        except CallError:
            return session.token
    keep(
        msgspec.structs.replace(
            session, token=found.access_token, refresh=found.refresh_token or session.refresh
        )
    )
    return found.access_token
