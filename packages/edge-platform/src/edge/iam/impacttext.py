"""An impact in sentences, as a dry run prints them: who loses and gains what, and where. Pure."""

from collections.abc import Iterator
from typing import Final

from msgspec import UnsetType

from edge.iam.difference import Rights, Rule
from edge.iam.impact import Affected, ImpactResult

SENTENCES_MAX: Final = 14
LENGTH_MAX: Final = 250
RESOURCES_SHOWN: Final = 4
_KINDS: Final = {"User": "", "Group": "group ", "ServiceAccount": "service account "}


def sentences(result: ImpactResult, at_most: int = SENTENCES_MAX) -> list[str]:
    """`bob loses get,list pods at workspace/press`; the last one counts what is not told."""
    if not result.subjects:
        unseen = "access changes at scopes whose bindings you may not see"
        return [unseen if result.hidden else "nobody's access changes"]
    found: list[str] = []
    told = 0
    for one in result.subjects:
        lines = list(_about(one))
        if len(found) + len(lines) > at_most - 1 and found:
            break
        found += lines[: at_most - 1]
        told += 1
    if told < result.total:
        least = "" if result.total_is_exact else "at least "
        found.append(f"and {least}{result.total - told} more: {result.losing} lose and {result.gaining} gain")
    elif result.hidden:
        found.append("and access changes at scopes whose bindings you may not see")
    return found


def _about(one: Affected) -> Iterator[str]:
    who = "everybody" if one.kind == "Everyone" else f"{_KINDS.get(one.kind, '')}{one.name}"
    for change in one.changes:
        for word, rights in (("loses", change.lost), ("gains", change.gained)):
            if not isinstance(rights, UnsetType):
                yield _fitted(f"{who} {word} ", rights_text(rights), f" at {change.scope}")


def _fitted(start: str, middle: str, end: str) -> str:
    room = max(LENGTH_MAX - len(start) - len(end), 10)
    return f"{start}{middle if len(middle) <= room else f'{middle[: room - 3]}...'}{end}"


def rights_text(rights: Rights) -> str:
    parts = [_rule(rule) for rule in rights.rules]
    if rights.ui:
        parts.append(f"console rights {_few(rights.ui)}")
    kept = [_rule(rule) for rule in rights.kept]
    if rights.kept_ui:
        kept.append(f"console rights {_few(rights.kept_ui)}")
    if rights.kept_is_cut:
        kept.append("...")
    return "; ".join(parts) + (f" (still has {'; '.join(kept)})" if kept else "")


def _rule(rule: Rule) -> str:
    """`get,list deployments.apps "web"`, `get /metrics`."""
    about = list(rule.urls)
    for resource in rule.resources:
        about += [f"{resource}.{group}" if group else resource for group in rule.groups]
    names = f" named {_few(rule.names)}" if rule.names else ""
    return f"{','.join(rule.verbs)} {_few(about)}{names}"


def _few(words: list[str] | tuple[str, ...]) -> str:
    more = len(words) - RESOURCES_SHOWN
    return ", ".join(words[:RESOURCES_SHOWN]) + (f" and {more} more" if more > 0 else "")
