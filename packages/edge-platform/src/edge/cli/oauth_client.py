"""`edge oauth-client`: programs that sign users in, and programs that act for themselves (I12).

edge oauth-client create wiki --redirect-uri https://wiki.example.com/oauth     prints the secret, once
edge oauth-client create phone --public --redirect-uri com.example.phone:/signed-in
edge oauth-client create backup --grant client_credentials --user svc-backup
edge oauth-client list
edge oauth-client set wiki --redirect-uri https://wiki.example.com/oauth --redirect-uri https://wiki.example.org/oauth
edge oauth-client set wiki --post-logout-uri ''      a list is given whole; '' is none
edge oauth-client rotate wiki --keep-previous 24h
edge oauth-client delete wiki
"""

import argparse
from typing import Any, Final
from urllib.parse import quote

from edge.cli import output
from edge.cli.gateway import CommandError, add_flags, ask
from edge.embedded.commands import AddVerb

CLIENTS: Final = "/oapis/iam.theriseunion.io/v1alpha1/oauthclients"
GRANTS: Final = ("authorization_code", "refresh_token", "client_credentials", "password")


def add_verbs(add: AddVerb) -> None:
    parser = add(
        "oauth-client", help="programs that sign users in: make one, list, change, rotate its secret, delete"
    )
    words = parser.add_subparsers(dest="word", required=True)
    create = words.add_parser("create", help="make one, and print its secret")
    create.add_argument("name", metavar="NAME", help="its client_id")
    create.add_argument(
        "--redirect-uri", action="append", default=[], metavar="URI", help="where users are sent back to"
    )
    create.add_argument(
        "--post-logout-uri", action="append", default=[], metavar="URI", help="where after signing out"
    )
    create.add_argument("--public", action="store_true", help="without a secret: it runs on users' machines")
    create.add_argument(
        "--grant", action="append", choices=GRANTS, help="authorization_code and refresh_token if not given"
    )
    create.add_argument("--user", default="", help="whom it acts as with client_credentials")
    create.add_argument("--token-life", default="", help="of its access tokens, such as 15m")
    change = words.add_parser("set", help="change one; what is not given stays as it is")
    change.add_argument("name", metavar="NAME")
    change.add_argument(
        "--redirect-uri", action="append", metavar="URI", help="all that users are sent back to"
    )
    change.add_argument(
        "--post-logout-uri", action="append", metavar="URI", help="all after signing out; '' for none"
    )
    change.add_argument("--grant", action="append", choices=GRANTS, help="all that it may use")
    change.add_argument("--user", help="whom it acts as with client_credentials; '' for nobody")
    change.add_argument("--token-life", help="of its access tokens; '' for the gateway's own")
    rotate = words.add_parser("rotate", help="a new secret")
    rotate.add_argument("name", metavar="NAME")
    rotate.add_argument("--keep-previous", default="0s", help="how long the old one counts, such as 24h")
    delete = words.add_parser("delete", help="nobody signs in through it any more")
    delete.add_argument("name", metavar="NAME")
    every = words.add_parser("list", help="all, without secrets")
    for one, run in (
        (create, _create), (change, _set), (rotate, _rotate), (delete, _delete), (every, _list),
    ):  # fmt: skip
        output.add_output(one)
        add_flags(one)
        one.set_defaults(run=run)


def _create(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    if given.user and "client_credentials" not in (given.grant or ()):
        raise CommandError("--user is for clients with --grant client_credentials.", 2)
    body: dict[str, Any] = {
        "id": given.name,
        "redirectURIs": given.redirect_uri,
        "postLogoutRedirectURIs": given.post_logout_uri,
        "public": given.public,
        "accessTokenLife": given.token_life,
        "user": given.user,
    }
    if given.grant:
        body["grants"] = given.grant
    return _told(given, ask(given, "POST", CLIENTS, body))


def _set(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    fields: dict[str, Any] = {
        "redirectURIs": _uris(given.redirect_uri),
        "postLogoutRedirectURIs": _uris(given.post_logout_uri),
        "grants": given.grant,
        "user": given.user,
        "accessTokenLife": given.token_life,
    }
    body = {key: value for key, value in fields.items() if value is not None}
    if not body:
        raise CommandError(
            "Say what to change: --redirect-uri, --post-logout-uri, --grant, --user, --token-life.", 2
        )
    client: dict[str, Any] = ask(given, "PATCH", _path(given), body)
    _show(given, [client], client)
    return 0


def _uris(given: list[str] | None) -> list[str] | None:
    """'' alone empties the list: no flag at all leaves it as it is."""
    return None if given is None else [uri for uri in given if uri]


def _rotate(given: argparse.Namespace) -> int:
    body = {"keepPreviousFor": given.keep_previous}
    return _told(given, ask(given, "POST", f"{_path(given)}/secret", body))


def _path(given: argparse.Namespace) -> str:
    return f"{CLIENTS}/{quote(given.name, safe='')}"


def _told(given: argparse.Namespace, client: dict[str, Any]) -> int:
    if not output.is_for_people(given):
        output.show(given, client, [client["id"]])
        return 0
    print(f"client_id      {client['id']}")
    if client.get("secret"):
        print(f"client_secret  {client['secret']}")
        print("The secret is kept nowhere: write it down now.")
    return 0


def _delete(given: argparse.Namespace) -> int:
    ask(given, "DELETE", _path(given))
    if output.is_for_people(given):
        print(f"deleted {given.name}")
    elif given.output == "name":
        print(given.name)
    return 0


def _list(given: argparse.Namespace) -> int:
    items: list[dict[str, Any]] = ask(given, "GET", CLIENTS)["items"]
    _show(given, items, items)
    return 0


def _show(given: argparse.Namespace, items: list[dict[str, Any]], value: Any) -> None:
    """A table of clients, or the value in a form for scripts."""
    if not output.is_for_people(given):
        output.show(given, value, [one["id"] for one in items])
        return
    rows = [["NAME", "KIND", "GRANTS", "USER", "REDIRECT URIS"]]
    for one in items:
        kind = "settings" if one["configured"] else "public" if one["public"] else "confidential"
        rows.append([one["id"], kind, ",".join(one["grants"]), one["user"], " ".join(one["redirectURIs"])])
    output.print_table(rows)
