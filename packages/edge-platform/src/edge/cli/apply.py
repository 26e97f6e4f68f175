"""`edge apply -f FILE`, `edge delete`: change objects through the gateway, in one's own name.

edge apply -f rollout.yaml
edge apply -f rollout.yaml --dry-run=server      judged and not stored; what it would bring is told
edge delete -f rollout.yaml
edge delete workspace press
"""

import argparse
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from edge.cli import kinds, output
from edge.cli.gateway import CommandError, add_flags, connected
from edge.cli.get import add_place
from edge.cli.manifests import objects_in
from edge.embedded.commands import AddVerb
from edge_sdk.client import EdgeClient, GatewayError
from edge_sdk.client.objects import APPLY

MANAGER: Final = "edge-cli"


def add_verbs(add: AddVerb) -> None:
    applying = add("apply", help="make objects what a file says (server-side apply)")
    applying.add_argument(
        "-f", "--filename", required=True, help="objects as YAML or JSON; - reads what comes in"
    )
    applying.add_argument(
        "--force-conflicts", action="store_true", help="take over fields that somebody else has set"
    )
    deleting = add("delete", help="delete objects")
    deleting.add_argument("kind", metavar="KIND", nargs="?", default="")
    deleting.add_argument("names", metavar="NAME", nargs="*")
    deleting.add_argument(
        "-f", "--filename", default="", help="objects as YAML or JSON, instead of KIND NAME"
    )
    deleting.add_argument("--ignore-not-found", action="store_true", help="what is gone already is fine")
    for one, run in ((applying, _apply), (deleting, _delete)):
        one.add_argument(
            "--dry-run", choices=("none", "server"), default="none", help="server: store nothing"
        )
        add_place(one)
        output.add_output(one)
        add_flags(one)
        one.set_defaults(run=run)


def _apply(given: argparse.Namespace) -> int:
    objects = objects_in(given.filename)
    return connected(given, lambda edge: _apply_all(edge, given, objects))


async def _apply_all(edge: EdgeClient, given: argparse.Namespace, objects: list[dict[str, Any]]) -> int:
    query = {"fieldManager": MANAGER, "force": given.force_conflicts, "dryRun": _dry(given)}
    found: list[dict[str, Any]] = []
    for at, obj in enumerate(objects, 1):
        output.say(f"{at} of {len(objects)}: {obj.get('kind')} {_name(obj)}")
        place = await kinds.of_manifest(edge, obj, given.cluster)
        path = place.path(_namespace(obj, given), _name(obj))
        reply = await edge.exchange("PATCH", path, query=query, body=obj, body_as=APPLY)
        for warning in reply.warnings:
            output.tell(f"Warning: {warning}", aside=True)
        found.append(msgspec.json.decode(reply.body))
        _tell(given, place.named(_name(obj)), "created" if reply.status == 201 else "applied")
    _show(given, found)
    return 0


def _delete(given: argparse.Namespace) -> int:
    if bool(given.filename) == bool(given.kind) or bool(given.kind) != bool(given.names):
        raise CommandError("Say what: `edge delete KIND NAME…`, or `edge delete -f FILE`.", 2)
    objects = objects_in(given.filename) if given.filename else []
    return connected(given, lambda edge: _delete_all(edge, given, objects))


async def _delete_all(edge: EdgeClient, given: argparse.Namespace, objects: list[dict[str, Any]]) -> int:
    wanted: list[tuple[kinds.Place, str, str]] = []
    for obj in objects:
        place = await kinds.of_manifest(edge, obj, given.cluster)
        wanted.append((place, _namespace(obj, given), _name(obj)))
    if given.kind:
        place = await kinds.find(edge, given.kind, given.cluster)
        wanted += [(place, given.namespace or "default", name) for name in given.names]
    gone: list[dict[str, Any]] = []
    for place, namespace, name in wanted:
        try:
            path = place.path(namespace, name)
            gone.append(await edge.call("DELETE", path, dict[str, Any], query={"dryRun": _dry(given)}))
        except GatewayError as error:
            if error.http_status != 404 or not given.ignore_not_found:
                raise
        else:
            _tell(given, place.named(name), "deleted")
    _show(given, gone)
    return 0


def _tell(given: argparse.Namespace, name: str, what: str) -> None:
    if output.is_for_people(given):
        output.tell(f"{name} {what}{' (server dry run)' if given.dry_run == 'server' else ''}")
    elif given.output == "name":
        output.tell(name)


def _show(given: argparse.Namespace, found: list[dict[str, Any]]) -> None:
    if not output.is_for_people(given):
        output.show(
            given, found[0] if len(found) == 1 else {"kind": "List", "apiVersion": "v1", "items": found}
        )


def _dry(given: argparse.Namespace) -> str:
    return "All" if given.dry_run == "server" else ""


def _name(obj: Mapping[str, Any]) -> str:
    """Raises CommandError."""
    metadata: Mapping[str, Any] = obj.get("metadata") or {}
    name = str(metadata.get("name", ""))
    if not name:
        raise CommandError(f"A {obj.get('kind', 'thing')} in the file has no metadata.name: give it one.", 2)
    return name


def _namespace(obj: Mapping[str, Any], given: argparse.Namespace) -> str:
    """Raises CommandError."""
    metadata: Mapping[str, Any] = obj.get("metadata") or {}
    said = str(metadata.get("namespace", ""))
    if said and given.namespace and said != given.namespace:
        raise CommandError(
            f'{obj.get("kind")} {_name(obj)} is for namespace "{said}", and -n says "{given.namespace}".', 2
        )
    return said or given.namespace or "default"
