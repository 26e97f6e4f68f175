"""Who calls and what they may do: the three shapes that every room's routes see. The iam room answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in caller. groups never hold a `system:*` name that came from outside (R13)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a caller wants to do. path is set, and group … name empty, for what is no resource.

    scope: "platform", or kind and name of the narrowest scope that holds the object, "namespace/press".
    within: where the scope is one that a ScopePattern names, the scope without that pattern; a right there
    counts as well, so that no pattern takes rights away.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    scope: str = "platform"
    within: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """allowed, and a sentence that says by which binding or what right is missing."""

    allowed: bool
    reason: str


class Access(Protocol):
    """Synchronous: answers from memory, or denies."""

    def may(self, caller: Caller, action: Action) -> Decision: ...
