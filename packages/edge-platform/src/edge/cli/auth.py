"""`edge auth can-i | why | who-can`: what somebody may do, by which grant, and who else may (I4, I8).

edge auth can-i get pods/log -n press
edge auth why delete deployments.apps web -n press --as ann
edge auth who-can create deployments.apps --scope workspace/dev-team
"""

import argparse
from collections.abc import Iterator
from typing import Any, Final

from edge.cli import impact, output
from edge.cli.gateway import CommandError, add_flags, ask
from edge.embedded.commands import AddVerb

BASE: Final = "/oapis/iam.theriseunion.io/v1alpha1"


def add_verbs(add: AddVerb) -> None:
    parser = add("auth", help="rights, and the reasons for them")
    words = parser.add_subparsers(dest="word", required=True)
    for word, text, run in (
        ("can-i", "yes or no; the exit code says it too", _can_i),
        ("why", "the reason, scope by scope", _why),
        ("who-can", "everybody who may", _who_can),
    ):
        one = words.add_parser(word, help=text)
        one.add_argument("action", metavar="VERB", help="get, list, create, …")
        one.add_argument(
            "resource", metavar="RESOURCE", help="pods, deployments.apps, pods/log, or a path: /metrics"
        )
        one.add_argument("name", metavar="NAME", nargs="?", default="")
        where = one.add_mutually_exclusive_group()
        where.add_argument("-n", "--namespace", default="", help="short for --scope namespace/NAME")
        where.add_argument("--scope", default="", help="platform, workspace/W, cluster/C/namespace/N, …")
        if word != "who-can":
            one.add_argument("--as", dest="user", default="", help="ask about another user")
        output.add_output(one)
        add_flags(one)
        one.set_defaults(run=run)
    impact.add_word(words.add_parser("impact", help="whose access a change would give and take"))


def _can_i(given: argparse.Namespace) -> int:
    found = _explained(given)
    said = "yes" if found["allowed"] else "no"
    if output.is_for_people(given):
        print(said)
    else:
        output.show(given, {"allowed": found["allowed"]}, [said])
    return 0 if found["allowed"] else 1


def _why(given: argparse.Namespace) -> int:
    found = _explained(given)
    if output.is_for_people(given):
        output.tell("\n".join(_told(given, found)))
    else:
        output.show(given, found, ["yes" if found["allowed"] else "no"])
    return 0 if found["allowed"] else 1


def _who_can(given: argparse.Namespace) -> int:
    body = {"scope": _scope(given), "action": _action(given), "limit": 200}
    subjects: list[dict[str, Any]] = []
    while True:
        page = ask(given, "POST", f"{BASE}/access/who-can", body)
        subjects += page["subjects"]
        if not page["cursor"]:
            break
        body["cursor"] = page["cursor"]
    if not output.is_for_people(given):
        output.show(given, subjects, [f"{one['kind']}/{one['name']}" for one in subjects])
        return 0
    if not subjects:
        print("nobody")
    for one in subjects:
        ways = "; ".join(_via(way) for way in one["via"])
        output.tell(f"{one['kind']} {one['name']}: {ways}")
    return 0


def _via(way: dict[str, str]) -> str:
    by = f", binding {way['binding']}" if way.get("binding") else ""
    return f"role {way['role']} at {way['scope']}{by}"


def _explained(given: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"scope": _scope(given), "action": _action(given)}
    if given.user:
        body["subject"] = {"kind": "User", "name": given.user}
    return ask(given, "POST", f"{BASE}/access/explain", body)


def _scope(given: argparse.Namespace) -> str:
    return f"namespace/{given.namespace}" if given.namespace else given.scope or "platform"


def _action(given: argparse.Namespace) -> dict[str, str]:
    """RESOURCE[.GROUP][/SUBRESOURCE], as kubectl writes it, or a path. Raises CommandError."""
    if given.resource.startswith("/"):
        return {"verb": given.action, "path": given.resource}
    whole, _, sub = given.resource.partition("/")
    resource, _, group = whole.partition(".")
    if not resource:
        raise CommandError(
            f'"{given.resource}" names no resource: write pods, deployments.apps or pods/log', 2
        )
    return {
        "verb": given.action,
        "group": group,
        "resource": resource,
        "subresource": sub,
        "name": given.name,
    }


def _told(given: argparse.Namespace, found: dict[str, Any]) -> Iterator[str]:
    who = given.user or "you"
    what = f"{given.action} {given.resource}{' ' + given.name if given.name else ''} at {_scope(given)}"
    if found["allowed"]:
        by = found["by"]
        yield f"yes: {who} may {what}"
        binding = f"binding {by['binding']}, " if by.get("binding") else ""
        rule = f", rule {by['ruleIndex']}" if "ruleIndex" in by else ""
        source = f", template {by['template']}" if by.get("template") else ""
        yield f"  decided at {found['decidedAt']} by {binding}role {by['role']}{source}{rule}"
        return
    yield f"no: {who} may not {what}"
    for step in found["trace"]:
        yield f"  {step['scope']}"
        looked = [_looked_at(one) for one in step["checked"] if one["outcome"] != "noSubject"]
        yield from (f"    {line}" for line in looked or ["nothing is bound here"])
    for way in found.get("grant", ()):
        givers = ", ".join(way["grantors"]) or "nobody at present"
        yield f"  would allow it: role {way['role']} at {way['scope']}; may be given by {givers}"


def _looked_at(one: dict[str, Any]) -> str:
    if one.get("hidden"):
        return "a binding that you may not see"
    binding = f"binding {one['binding']}, " if one.get("binding") else ""
    return f"{binding}role {one['role']}: {one.get('missing', '')}"
