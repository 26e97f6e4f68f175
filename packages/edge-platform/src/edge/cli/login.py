"""`edge login`, `edge logout`: a session for the commands that follow. The password is never an argument.

edge login --server https://edge.example.com --ca ca.crt -u ann
edge login -u ann --password-stdin < password
edge login --browser                         on the gateway's own page, also through a provider
edge login --browser --no-open               prints the address, for a browser of this machine
edge logout

Access tokens are renewed as they end. Logout ends the session at the gateway too; where that does not answer,
it says so, with exit code 1, and what was kept here is gone all the same.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from edge.cli import browser_login
from edge.cli.gateway import CommandError, add_flags, ca_of, connected, server_of
from edge.cli.session_file import PUBLISHED, Kept, keep, kept, kept_file, locked
from edge.embedded.commands import AddVerb
from edge.iam.oauthclients import COMMAND_LINE
from edge_sdk.client import EdgeClient
from edge_sdk.client.http import FORM
from edge_sdk.client.models.shared import Token

USER: Final = "admin"
Way = Callable[[EdgeClient], Awaitable[tuple[Token, str]]]
"""To tokens, and to the name of whose they are."""


def add_verbs(add: AddVerb) -> None:
    parser = add("login", help="sign in to a gateway")
    parser.add_argument("-u", "--user", default="", help=f"name of the user; {USER} if not given")
    parser.add_argument(
        "--client-id",
        default="",
        metavar="ID",
        help="another client than edge-console (EDGE_CLIENT_ID), or than edge-cli with --browser; its secret "
        "is read from EDGE_CLIENT_SECRET",
    )
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument("--browser", action="store_true", help="sign in on the gateway's page instead")
    parser.add_argument("--no-open", action="store_true", help="print the address of that page, open nothing")
    add_flags(parser, token=False)
    parser.set_defaults(run=_login)
    leaving = add("logout", help="end the session that login has begun, here and at the gateway")
    leaving.set_defaults(run=_logout)


def _login(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    server, ca = server_of(given), ca_of(given)
    beginning, way = (_by_browser if given.browser else _by_password)(given, server)

    async def work(edge: EdgeClient) -> tuple[Token, str, Path]:
        found, user = await way(edge)
        session = replace(beginning, user=user, token=found.access_token, refresh=found.refresh_token)
        async with locked():
            path = keep(replace(session, ca=str(Path(ca).resolve()) if ca else ""))
        return found, user, path

    answer, user, path = connected(given, work, signed_in=False)
    print(f"Signed in to {server} as {user}. The token is kept in {path}.")
    if answer.scope == "password-change":
        print("Somebody else chose this password: until you change it, you may only read.")
    return 0


def _by_password(given: argparse.Namespace, server: str) -> tuple[Kept, Way]:
    """Raises CommandError."""
    if given.no_open:
        raise CommandError("--no-open is for `edge login --browser`.", 2)
    client = given.client_id or os.environ.get("EDGE_CLIENT_ID") or PUBLISHED[0]
    secret = os.environ.get("EDGE_CLIENT_SECRET") or (PUBLISHED[1] if client == PUBLISHED[0] else "")
    beginning, user = Kept(server, client=client, secret=secret), given.user or USER
    password = _piped() if given.password_stdin else _asked(user, server)
    form = {"grant_type": "password", "username": user, "password": password, **beginning.as_client}

    async def way(edge: EdgeClient) -> tuple[Token, str]:
        return await edge.call("POST", "/oauth/token", Token, body=form, body_as=FORM), user

    return beginning, way


def _by_browser(given: argparse.Namespace, server: str) -> tuple[Kept, Way]:
    """Raises CommandError."""
    if given.user or given.password_stdin:
        raise CommandError("With --browser the page asks who you are: leave out -u and --password-stdin.", 2)
    secret = os.environ.get("EDGE_CLIENT_SECRET", "") if given.client_id else ""
    beginning = Kept(server, client=given.client_id or COMMAND_LINE, secret=secret)
    return beginning, partial(browser_login.sign_in, client=beginning.as_client, opens=not given.no_open)


def _logout(_: argparse.Namespace) -> int:
    """Raises CommandError."""
    session = kept()
    if not session.token:
        kept_file().unlink(missing_ok=True)
        print("You were not signed in.")
        return 0
    where = argparse.Namespace(server=session.server, ca=session.ca)
    try:
        connected(where, _end_kept, signed_in=False)
    except CommandError as error:
        _forget()
        raise CommandError(
            f"What was kept here is gone. The gateway does not know of it: {error} The session there goes on"
            " until it is over or is ended with `edge sessions end`."
        ) from None
    print(f"Signed out of {session.server}.")
    return 0


async def _end_kept(edge: EdgeClient) -> None:
    """At the gateway, then here: under the lock, so that no other process swaps the token meanwhile."""
    async with locked():
        session = kept()
        form = {"token": session.refresh or session.token, **session.as_client}
        if session.token:
            await edge.send("POST", "/oauth/revoke", body=form, body_as=FORM)
        _forget()


def _forget() -> None:
    path = kept_file()
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} was not removed: {error.strerror or error}.") from None


def _piped() -> str:
    try:
        return sys.stdin.readline().rstrip("\n")
    except UnicodeDecodeError:
        raise CommandError("The password on standard input is no UTF-8.", 2) from None


def _asked(user: str, server: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for the password. Use --password-stdin.", 2)
    try:
        return getpass.getpass(f"Password of {user} at {server}: ")
    except EOFError:
        raise CommandError("No password was given.", 2) from None
