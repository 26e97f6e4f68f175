"""`edge login`, `edge logout`: a token for the commands that follow. The password is never an argument."""

import argparse
import getpass
import sys
from pathlib import Path

from edge.cli.gateway import (
    CLIENT,
    CommandError,
    Kept,
    add_flags,
    ca_of,
    connected,
    keep,
    kept_file,
    server_of,
)
from edge.embedded.commands import AddVerb
from edge_sdk.client import EdgeClient
from edge_sdk.client.http import FORM
from edge_sdk.client.models.shared import Token


def add_verbs(add: AddVerb) -> None:
    parser = add("login", help="sign in to a gateway")
    parser.add_argument("-u", "--user", default="admin", help="name of the user")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    add_flags(parser, token=False)
    parser.set_defaults(run=_login)
    leaving = add("logout", help="forget the token that login has kept")
    leaving.set_defaults(run=_logout)


def _login(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    server, ca = server_of(given), ca_of(given)
    password = sys.stdin.readline().rstrip("\n") if given.password_stdin else _asked(given.user, server)
    form = {"grant_type": "password", "username": given.user, "password": password, **CLIENT}

    async def work(edge: EdgeClient) -> Token:
        return await edge.call("POST", "/oauth/token", Token, body=form, body_as=FORM)

    answer = connected(given, work, signed_in=False)
    session = Kept(server, answer.access_token, answer.refresh_token, str(Path(ca).resolve()) if ca else "")
    path = keep(session)
    print(f"Signed in to {server} as {given.user}. The token is kept in {path}.")
    if answer.scope == "password-change":
        print("Somebody else chose this password: until you change it, you may only read.")
    return 0


def _logout(_: argparse.Namespace) -> int:
    path = kept_file()
    try:
        path.unlink()
    except FileNotFoundError:
        print("You were not signed in.")
    except OSError as error:
        raise CommandError(f"{path} was not removed: {error.strerror or error}.") from None
    else:
        print(f"Signed out: the token in {path} is gone.")
    return 0


def _asked(user: str, server: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for the password. Use --password-stdin.", 2)
    return getpass.getpass(f"Password of {user} at {server}: ")
