"""`edge login`: a token for the commands that follow. The password is never an argument."""

import argparse
import getpass
import sys
from typing import Final

from edge.cli.gateway import CommandError, Kept, keep, send, server_of
from edge.embedded.commands import AddVerb

CLIENT: Final = {"client_id": "edge-console", "client_secret": "edge-secret"}


def add_verbs(add: AddVerb) -> None:
    parser = add("login", help="sign in to a gateway")
    parser.add_argument("-u", "--user", default="admin", help="name of the user")
    parser.add_argument("--server", default="", help="address of the gateway")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    server = server_of(given)
    password = sys.stdin.readline().rstrip("\n") if given.password_stdin else _asked(given.user, server)
    form = {"grant_type": "password", "username": given.user, "password": password, **CLIENT}
    answer = send(server, "POST", "/oauth/token", data=form)
    path = keep(Kept(server, answer["access_token"]))
    print(f"Signed in to {server} as {given.user}. The token is kept in {path}.")
    if answer.get("scope") == "password-change":
        print("Somebody else chose this password: until you change it, you may only read.")
    return 0


def _asked(user: str, server: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("There is no terminal to ask for the password. Use --password-stdin.", 2)
    return getpass.getpass(f"Password of {user} at {server}: ")
