"""`edge sessions`: what is signed in where; end one or all of them (I12).

edge sessions
edge sessions end 4kTq0Wc1
edge sessions end --others                 all but the one that asks
edge sessions end --all --user ann
"""

import argparse
from typing import Any, Final
from urllib.parse import quote

from edge.cli import output
from edge.cli.gateway import CommandError, add_flags, ask
from edge.embedded.commands import AddVerb

IAM: Final = "/oapis/iam.theriseunion.io/v1alpha1"
COLUMNS: Final = {"ID": "id", "CLIENT": "client", "ADDRESS": "address", "LAST SEEN": "lastSeen"}
WIDE: Final = {"OPENED": "opened", "EXPIRES": "expires", "PROVIDER": "provider", "PROGRAM": "userAgent"}


def add_verbs(add: AddVerb) -> None:
    parser = add("sessions", help="what is signed in where: list, end one or all")
    parser.add_argument("word", nargs="?", choices=("list", "end"), default="list")
    parser.add_argument("id", nargs="?", default="", metavar="ID", help="of the one to end")
    parser.add_argument("--all", action="store_true", help="end all of them, this one too")
    parser.add_argument("--others", action="store_true", help="end all but the one that asks")
    parser.add_argument("--user", default="", help="those of somebody else")
    output.add_output(parser)
    add_flags(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    return _end(given) if given.word == "end" else _list(given)


def _list(given: argparse.Namespace) -> int:
    if given.id or given.all or given.others:
        raise CommandError("ID, --all and --others are for `edge sessions end`.", 2)
    items: list[dict[str, Any]] = ask(given, "GET", _path(given))["items"]
    if not output.is_for_people(given):
        output.show(given, items, [one["id"] for one in items])
        return 0
    if not items:
        print("no session is open")
        return 0
    columns = COLUMNS | (WIDE if given.output == "wide" else {})
    rows = [
        [*(str(one[key]) for key in columns.values()), "this one" if one["current"] else ""] for one in items
    ]
    output.print_table([[*columns, ""], *rows])
    return 0


def _end(given: argparse.Namespace) -> int:
    if bool(given.id) + given.all + given.others != 1:
        raise CommandError("Say which: `edge sessions end ID`, --others or --all.", 2)
    one = f"/{quote(given.id, safe='')}" if given.id else ""
    others = "?others=true" if given.others else ""
    ended: list[dict[str, Any]] = ask(given, "DELETE", f"{_path(given)}{one}{others}")["items"]
    if not output.is_for_people(given):
        output.show(given, ended, [one["id"] for one in ended])
        return 0
    for one in ended:
        output.tell(f"ended {one['id']} ({one['client']} at {one['address']})")
    if not ended:
        print("no session is open")
    return 0


def _path(given: argparse.Namespace) -> str:
    whose = f"users/{quote(given.user, safe='')}" if given.user else "me"
    return f"{IAM}/{whose}/sessions"
