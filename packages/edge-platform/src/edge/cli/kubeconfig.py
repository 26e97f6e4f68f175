"""`edge kubeconfig`: a file that kubectl reaches a cluster with, in one's own name, for a while (I3, C8).

edge kubeconfig                                   the platform's own cluster, into ~/.kube/config
edge kubeconfig --cluster berlin --ttl 8h -f f    a member cluster, into the file f; `-f -` prints it
edge kubeconfig list
edge kubeconfig revoke ID                         or --all
"""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from edge.cli import output
from edge.cli.gateway import CommandError, add_flags, ask
from edge.cli.kubeconfig_file import default_file, put_into, renamed
from edge.embedded.commands import AddVerb

IAM: Final = "/oapis/iam.theriseunion.io/v1alpha1"
COLUMNS: Final = ("id", "cluster", "name", "issued", "expires")


def add_verbs(add: AddVerb) -> None:
    parser = add("kubeconfig", help="a file for kubectl: make one, list those in force, revoke one")
    parser.add_argument("word", nargs="?", choices=("get", "list", "revoke"), default="get")
    parser.add_argument("id", nargs="?", default="", metavar="ID", help="of the one to revoke")
    parser.add_argument("--cluster", default="host", help="a member cluster; the platform's own if not given")
    parser.add_argument("--ttl", default="", help="how long it is good for, such as 8h or 7d")
    parser.add_argument("--name", default="", help="what you call it, shown by list")
    parser.add_argument("-f", "--file", default="", help="file to merge it into; - prints it")
    parser.add_argument("--context", default="", help="name of its context in the file")
    parser.add_argument("--use", action="store_true", help="make it the current context of the file")
    parser.add_argument("--address", default="", help="https address of the gateway to write into it")
    parser.add_argument("--user", default="", help="list or revoke those of somebody else")
    parser.add_argument("--all", action="store_true", help="revoke all of them")
    output.add_output(parser)
    add_flags(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    return {"get": _get, "list": _list, "revoke": _revoke}[given.word](given)


def _get(given: argparse.Namespace) -> int:
    if given.user or given.all or given.id:
        raise CommandError("A kubeconfig is made for yourself alone: leave out ID, --user and --all.", 2)
    body = {"cluster": given.cluster, "ttl": given.ttl, "name": given.name, "server": given.address}
    file = ask(given, "POST", f"{IAM}/me/kubeconfigs", body)
    about: dict[str, str] = file["contexts"][0]["context"]["extensions"][0]["extension"]
    if given.context:
        file = renamed(file, given.context)
    if given.file == "-":
        yaml.safe_dump(file, sys.stdout, sort_keys=False, allow_unicode=True)
        return 0
    path = Path(given.file) if given.file else default_file()
    try:
        put_into(path, file, use=given.use)
    except CommandError:
        # What nobody has must not stay in force.
        ask(given, "DELETE", f"{IAM}/me/kubeconfigs/{about['id']}")
        raise
    print(f"Context {file['current-context']} is in {path}, good until {about['expires']}.")
    print(f"  kubectl --kubeconfig={path} --context={file['current-context']} get namespaces")
    print(f"  edge kubeconfig revoke {about['id']}")
    return 0


def _list(given: argparse.Namespace) -> int:
    items: list[dict[str, str]] = ask(given, "GET", _path(given))["items"]
    if not output.is_for_people(given):
        output.show(given, items, [one["id"] for one in items])
        return 0
    if not items:
        print("no kubeconfig is in force")
        return 0
    rows = [[word.upper() for word in COLUMNS], *([one[key] for key in COLUMNS] for one in items)]
    output.print_table(rows)
    return 0


def _revoke(given: argparse.Namespace) -> int:
    if bool(given.id) == given.all:
        raise CommandError("Say which one, `edge kubeconfig revoke ID`, or --all.", 2)
    revoked: list[dict[str, Any]] = ask(given, "DELETE", f"{_path(given)}{given.id and '/' + given.id}")[
        "items"
    ]
    if not output.is_for_people(given):
        output.show(given, revoked, [one["id"] for one in revoked])
        return 0
    for one in revoked:
        print(f"revoked {one['id']} ({one['cluster']})")
    if not revoked:
        print("no kubeconfig is in force")
    return 0


def _path(given: argparse.Namespace) -> str:
    return f"{IAM}/users/{given.user}/kubeconfigs" if given.user else f"{IAM}/me/kubeconfigs"
