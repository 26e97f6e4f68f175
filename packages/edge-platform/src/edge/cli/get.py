"""`edge get KIND [NAME]`: objects of the platform and of every cluster behind it, once or as they change.

edge get users
edge get clusters -o wide --sort-by .metadata.creationTimestamp
edge get applicationdeployments -A -w
edge get pods -n press --cluster berlin -l app=web -o name
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from edge.cli import kinds, output, table
from edge.cli.gateway import CommandError, add_flags, connected
from edge.cli.jsonpath import is_path
from edge.cli.listing import Listing
from edge.embedded.commands import AddVerb
from edge_sdk.client import EdgeClient

AS_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def add_verbs(add: AddVerb) -> None:
    parser = add("get", help="show objects of a kind")
    parser.add_argument("kind", metavar="KIND", help="users, clusters, pods, deployments.apps, …")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="of one object; all without it")
    add_place(parser)
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument("-l", "--selector", default="", help="labels, such as app=web,tier!=back")
    parser.add_argument(
        "-w", "--watch", action="store_true", help="go on with every change, until interrupted"
    )
    parser.add_argument("--sort-by", default="", metavar="JSONPATH", help="such as .metadata.name")
    output.add_output(parser)
    add_flags(parser)
    parser.set_defaults(run=run)


def add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--namespace", default="", help="default for kinds that have one")
    parser.add_argument("--cluster", default="", help="a member cluster; the platform's own if not given")


def run(given: argparse.Namespace) -> int:
    """Raises CommandError."""
    if given.sort_by and not is_path(given.sort_by):
        raise CommandError(f'"{given.sort_by}" is no JSONPath: write --sort-by .metadata.name', 2)
    if given.watch and given.sort_by:
        raise CommandError("Changes come when they come: leave out --sort-by or --watch.", 2)
    return connected(given, lambda edge: _get(edge, given))


async def _get(edge: EdgeClient, given: argparse.Namespace) -> int:
    place = await kinds.find(edge, given.kind, given.cluster)
    namespace = "" if given.all_namespaces else given.namespace or "default"
    if given.name and place.namespaced and not namespace:
        raise CommandError("An object has one namespace: give it with -n instead of -A.", 2)
    wants_table = output.is_for_people(given) and place.columns is None
    headers = {"Accept": AS_TABLE if wants_table else "application/json"}
    listing = Listing(edge, place.path(namespace), _query(given, wants_table), headers)
    if given.name and not given.watch:
        path = place.path(namespace, given.name)
        pages = [await edge.call("GET", path, dict[str, Any], headers=headers)]
    else:
        pages = await listing.pages()
    shown = _shown(pages, place, given)
    if given.sort_by:
        shown = table.ordered(shown, given.sort_by)
    _print(shown, place, given, pages, head=True)
    if given.watch:
        sys.stdout.flush()
        await _watch(listing, place, given)
    return 0


def _query(given: argparse.Namespace, wants_table: bool) -> dict[str, Any]:
    query: dict[str, Any] = {"labelSelector": given.selector}
    if given.name:
        query["fieldSelector"] = f"metadata.name={given.name}"
    return query | ({"includeObject": "Object"} if wants_table else {})


def _shown(pages: list[dict[str, Any]], place: kinds.Place, given: argparse.Namespace) -> table.Shown:
    wide = given.output == "wide"
    if pages[0].get("kind") == "Table":
        heads = pages[0]["columnDefinitions"]
        parts = [table.of_table(page, heads, wide=wide) for page in pages]
        return table.Shown(
            [one for part in parts for one in part.objects], parts[0].heads,
            [row for part in parts for row in part.cells],
        )  # fmt: skip
    objects = [one for page in pages for one in page.get("items", [page])]
    for one in objects:  # a list does not repeat them
        one.setdefault("kind", place.kind)
    return table.of_objects(objects, place.columns or (), wide=wide, now_s=time.time())


def _print(
    shown: table.Shown,
    place: kinds.Place,
    given: argparse.Namespace,
    pages: list[dict[str, Any]],
    *,
    head: bool,
) -> None:
    if output.is_for_people(given):
        rows = table.rows(shown, namespaces=given.all_namespaces and place.namespaced)
        if len(rows) > 1:
            output.print_table(rows if head else rows[1:])
        elif head:
            print(f"No {place.plural} were found.", file=sys.stderr)
        return
    one = (
        pages[0]
        if given.name and not given.watch
        else {"kind": "List", "apiVersion": "v1", "items": shown.objects}
    )
    names = [place.named(obj["metadata"]["name"]) for obj in shown.objects]
    if given.watch:
        for obj in shown.objects:
            _print_change(obj, place, given)
    else:
        output.show(given, one, names)


def _print_change(obj: Mapping[str, Any], place: kinds.Place, given: argparse.Namespace) -> None:
    if given.output == "json":  # a line each, for who reads it as it comes
        print(json.dumps(obj, ensure_ascii=False), flush=True)
        return
    if given.output == "yaml":
        print("---")
    output.show(given, obj, [place.named(obj["metadata"]["name"])])
    sys.stdout.flush()


async def _watch(listing: Listing, place: kinds.Place, given: argparse.Namespace) -> None:
    heads: list[dict[str, Any]] = []
    async for obj in listing.changes():
        if obj.get("kind") == "Table":  # only the first of a stream has them
            heads = obj.get("columnDefinitions") or heads
            obj["columnDefinitions"] = heads
        _print(_shown([obj], place, given), place, given, [obj], head=False)
        sys.stdout.flush()
