"""`edge audit query | export | verify | status`: who did what, and whether the record of it is whole (O6).

edge audit query --user ann --verb delete --from 2026-01-01T00:00:00Z
edge audit verify                      exit code 1 and the first broken record when it is not whole
edge audit verify --folder /backup     without a gateway; --key: the public key that you keep elsewhere
edge audit status                      what the last verification found; exit code 1 when it is not whole
edge audit export --as events > audit.json
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from edge.audit.events import kubernetes_event, kubernetes_time
from edge.audit.folder import Folder
from edge.audit.query import RESULTS, Entry
from edge.audit.statements import read_public
from edge.audit.verdict import Verdict
from edge.audit.verify import verify
from edge.cli import output
from edge.cli.gateway import CommandError, add_flags, ask
from edge.embedded.commands import AddVerb

BASE: Final = "/oapis/audit.theriseunion.io/v1alpha1"
PAGE: Final = 500
VERIFIED_WITHIN_S: Final = 3600.0
FILTERS: Final = (
    ("user", "name of who did it"),
    ("impersonated", "name of whom they acted as (kubectl --as)"),
    ("verb", "create, update, patch, delete, sign-in, …"),
    ("resource", "pods, pods/exec, deployments.apps, …"),
    ("cluster", "a member cluster"),
    ("namespace", "namespace of the object"),
    ("name", "name of the object"),
    ("scope", "platform, workspace/W, cluster/C/namespace/N, …: what was done there and below"),
    ("code", "a status such as 403, or a class such as 4xx"),
    ("from", "time in RFC 3339, such as 2026-01-31T08:00:00Z"),
    ("to", "the time before which it was"),
)


def add_verbs(add: AddVerb) -> None:
    parser = add("audit", help="who did what, and whether the record of it is whole")
    words = parser.add_subparsers(dest="word", required=True)
    query = words.add_parser("query", help="search the trail, newest first")
    export = words.add_parser("export", help="every entry that fits, a JSON object a line")
    for one in (query, export):
        for name, text in FILTERS:
            one.add_argument(f"--{name}", dest=f"by_{name}", metavar=name.upper(), default="", help=text)
        one.add_argument("--result", dest="by_result", default="", choices=RESULTS, help="how it ended")
        add_flags(one)
    query.add_argument("--limit", type=_count, default=50, help="entries to show")
    output.add_output(query)
    query.set_defaults(run=_query)
    export.add_argument(
        "--as", dest="form", choices=("ndjson", "events"), default="ndjson",
        help="events: audit.k8s.io/v1, for tools that read Kubernetes audit logs",
    )  # fmt: skip
    export.set_defaults(run=_export)
    check = words.add_parser("verify", help="find a removed, altered or moved record")
    check.add_argument("--folder", type=Path, help="a folder with the trail; otherwise the gateway is asked")
    check.add_argument("--key", action="append", default=[], help="trusted public key, as in the file `keys`")
    check.add_argument("--anchors", type=Path, help="signed statements that were kept elsewhere, one a line")
    output.add_output(check)
    add_flags(check)
    check.set_defaults(run=_verify)
    status = words.add_parser("status", help="what the last verification of each store of records found")
    output.add_output(status)
    add_flags(status)
    status.set_defaults(run=_status)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text[:10]) == 0:
        raise argparse.ArgumentTypeError(f'"{text[:40]}" is no number of entries: give 1 or more')
    return int(text[:10])


def _query(given: argparse.Namespace) -> int:
    found: list[Entry] = []
    for entry in _entries(given, min(PAGE, given.limit)):
        found.append(entry)
        if len(found) >= given.limit:
            break
    if not output.is_for_people(given):
        output.show(given, msgspec.to_builtins(found), [entry.id for entry in found])
        return 0
    if not found:
        print("nothing was found")
    for entry in found:
        output.tell(_told(entry))
    return 0


def _export(given: argparse.Namespace) -> int:
    """Written as it comes: the trail may be larger than memory."""
    count = 0
    for entry in _entries(given, PAGE):
        if given.form == "events":
            line = json.dumps(kubernetes_event(entry), ensure_ascii=False)
        else:
            line = msgspec.json.encode(entry, order="sorted").decode()
        print(line)
        count += 1
    print(f"{count} entries", file=sys.stderr)
    return 0


def _verify(given: argparse.Namespace) -> int:
    found = _verified_here(given) if given.folder else _verified_there(given)
    broken = found["broken"]
    if not output.is_for_people(given):
        output.show(given, found, ["broken" if broken else "whole"])
        return 1 if broken else 0
    if broken:
        output.tell(f"broken: chain {broken['chain']}, record {broken['seq']}: {broken['why']}")
        if broken["expected"]:
            print(f"  h by its content {broken['expected']}\n  h in the file    {broken['found']}")
        return 1
    print(
        f"whole: {found['records']} records in {found['segments']} segments of {found['chains']} chains;"
        f" {found['unsigned']} after the last signature, {found['retired']} gone because their time was over"
    )
    return 0


def _status(given: argparse.Namespace) -> int:
    found = ask(given, "GET", f"{BASE}/verifications")
    verdicts = msgspec.convert(found["items"], list[Verdict])
    code = 1 if any(one.broken for one in verdicts) else 0
    if not output.is_for_people(given):
        output.show(given, found, [f"{one.store}/{_state(one)}" for one in verdicts])
        return code
    for one in verdicts:
        print(output.visible(_verdict(one)))
    return code


def _state(verdict: Verdict) -> str:
    if not verdict.began:
        return "unverified"
    return "broken" if verdict.broken else "whole"


def _verdict(verdict: Verdict) -> str:
    parts = [f"{verdict.store}  {_state(verdict)}"]
    if verdict.began:
        parts.append(f"{verdict.records} records read from {_time(verdict.began)} to {_time(verdict.ended)}")
    if verdict.broken:
        parts.append(str(verdict.broken))
    if verdict.trouble:
        tried = f" at {_time(verdict.tried)}" if verdict.tried else ""
        parts.append(f"not verified{tried}: {verdict.trouble}")
    parts.append(f"next {_time(verdict.next)}" if verdict.next else "not on a schedule (audit.verifyAt)")
    return "; ".join(parts)


def _verified_there(given: argparse.Namespace) -> dict[str, Any]:
    output.say("Every record is read: with millions of them it takes minutes.")
    return ask(given, "GET", f"{BASE}/verification", within_s=VERIFIED_WITHIN_S)


def _verified_here(given: argparse.Namespace) -> dict[str, Any]:
    """Raises CommandError."""
    try:
        keys = [read_public(text) for text in given.key] or None
        anchors: list[bytes] = given.anchors.read_bytes().splitlines() if given.anchors else []
        if not Folder(given.folder).chains():
            raise CommandError(f"{given.folder} holds no audit trail: there is no .log or .sig file in it")
        report = verify(Folder(given.folder), keys, anchors)
    except (OSError, ValueError) as error:
        raise CommandError(f"The trail in {given.folder} was not read: {error}") from None
    if keys is None:
        print("The keys in the folder were trusted; give --key to trust none but yours.", file=sys.stderr)
    broken = report.broken
    return {
        "broken": broken
        and {name: getattr(broken, name) for name in ("chain", "seq", "why", "expected", "found")},
        "records": report.records,
        "segments": report.segments,
        "chains": report.chains,
        "unsigned": report.unsigned,
        "retired": report.retired,
    }


def _entries(given: argparse.Namespace, size: int) -> Iterator[Entry]:
    names = [*(name for name, _ in FILTERS), "result"]
    query = {name: getattr(given, f"by_{name}") for name in names if getattr(given, f"by_{name}")}
    cursor = ""
    while True:
        page = ask(given, "GET", f"{BASE}/records?{urlencode({**query, 'limit': size, 'cursor': cursor})}")
        yield from msgspec.convert(page["items"], list[Entry])
        cursor = page["cursor"]
        if not cursor:
            return


def _told(entry: Entry) -> str:
    req = entry.req
    when = _time(entry.time)
    group = f".{req.group}" if req.group else ""
    sub = f"/{req.sub}" if req.sub else ""
    what = f"{req.resource}{group}{sub}" if req.resource else req.path
    where = "".join(
        f" {word} {value}" for word, value in (("-n", req.namespace), ("in", req.cluster)) if value
    )
    name = f" {req.name}" if req.name else ""
    only = " (dry run)" if req.dry_run else ""
    why = f" {entry.reason}" if entry.reason else ""
    who = entry.actor.user or "(nobody)"
    if entry.actor.impersonated:
        who = f"{who} as {entry.actor.impersonated}"
    how = f"{entry.code or '-'} {entry.result}{why}"
    return f"{when}  {who}  {req.verb} {what}{name}{where}{only}  {how}  {entry.origin.ip}"


def _time(ms: int) -> str:
    """In UTC, to the second."""
    return kubernetes_time(ms)[:19] + "Z"
