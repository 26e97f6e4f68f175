"""Whose access a change would give and take, before it is made (I2, I8; design §6). Pure.

    impact = Impact(index, Proposal("IAMRole", "editor", None))
    for _ in impact.steps():
        ...                       # others may have their turn between two steps
    impact.result()

Net over the whole cascade: what somebody still holds in another way is not lost. A change at a scope counts
for all that lies in it. A user is judged with all of their groups; a group is listed by itself when it may
have members that are not known here (one of Kubernetes, or one that no user is in).
"""

from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from edge.iam.difference import Held, Rights, beyond
from edge.iam.facts import subject_of
from edge.iam.index import EVERYONE, Index
from edge.iam.overlay import Overlay
from edge.iam.proposal import Proposal, Touched, lay
from edge.iam.rules import Table
from edge.iam.scope import PLATFORM, scope_text

SUBJECTS_SHOWN: Final = 100
CHANGES_SHOWN: Final = 50
"""Scopes that are named for one subject."""
JUDGED_MAX: Final = 40_000
"""Pairs of subject and scope that are compared; beyond it the totals are said to be no exact ones."""
STEP: Final = 16
"""Comparisons between two turns of others."""

Sees = Callable[[str], bool]


class Change(Struct, rename="camel", omit_defaults=True):
    scope: str
    lost: Rights | UnsetType = UNSET
    gained: Rights | UnsetType = UNSET


class Affected(Struct, rename="camel", omit_defaults=True):
    """changesCut: there are more scopes than are named."""

    kind: str
    name: str
    changes: list[Change]
    changes_cut: bool = False


class ImpactResult(Struct, rename="camel"):
    """subjects: the first hundred. total, losing, gaining: how many; exact when totalIsExact says so.

    hidden: some lie at scopes whose bindings the asker may not see, and are not counted.
    """

    operation: str
    kind: str
    name: str
    subjects: list[Affected]
    total: int
    losing: int
    gaining: int
    total_is_exact: bool
    hidden: bool


class _Delta(NamedTuple):
    lost: Rights | None
    gained: Rights | None


_NOTHING: Final = _Delta(None, None)


class Impact:
    def __init__(
        self, index: Index, proposal: Proposal, *, asker: str = "", sees: Sees = lambda _: True
    ) -> None:
        """sees: whether the asker may see the bindings at a scope; of themselves they see everything.

        `changes` is False when the proposal is what is there already.
        """
        self._index = index
        self._proposal = proposal
        self._asker = f"User:{asker}" if asker else ""
        self._sees = sees
        self._before = Overlay(index)
        laid = lay(index, proposal)
        self._after, self._touched, self.changes = laid
        self._known: dict[tuple[frozenset[Table], frozenset[Table], bool], _Delta] = {}
        self._subjects: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._found: dict[str, dict[str, _Delta]] = {}
        self._losing: set[str] = set()
        self._gaining: set[str] = set()
        self._members: dict[str, list[str]] | None = None
        self._is_exact = True
        self._hidden = False

    def steps(self) -> Iterator[None]:
        """Compares, a few pairs a step."""
        judged = 0
        whom: list[Touched] = []
        for found in self._touched:
            if found is None:
                yield
            else:
                whom.append(found)
        # Wide scopes first, so that what is said of one need not be said again of those in it.
        for touched in sorted(whom, key=lambda one: self._depth(one.scope)):
            for one in self._identities(touched):
                if judged == JUDGED_MAX:
                    self._is_exact = False
                    return
                judged += 1
                self._judge(one, touched)
                if judged % STEP == 0:
                    yield

    def result(self) -> ImpactResult:
        """What has been compared so far, put together."""
        first = nsmallest(SUBJECTS_SHOWN, self._found, key=lambda key: (key != EVERYONE, key))
        return ImpactResult(
            operation="delete" if self._proposal.new is None else "put",
            kind=self._proposal.kind,
            name=self._proposal.name,
            subjects=[self._shown(key) for key in first],
            total=len(self._found),
            losing=len(self._losing),
            gaining=len(self._gaining),
            total_is_exact=self._is_exact,
            hidden=self._hidden,
        )

    def _identities(self, touched: Touched) -> Iterator[str]:
        """Keys of those to be judged at a scope, each once; only the asker where the asker sees no others."""
        open_to_view = self._sees(touched.scope) and all(map(self._sees, touched.levels))
        seen: set[str] = set()
        for subject in touched.subjects:
            for key in self._expanded(subject):
                if key in seen:
                    continue
                seen.add(key)
                if open_to_view or key == self._asker:
                    yield key
                else:
                    self._hidden = True

    def _expanded(self, subject: str) -> Iterator[str]:
        kind, _, name = subject.partition(":")
        if subject == EVERYONE:
            yield EVERYONE
            yield from (f"User:{user}" for user in tuple(self._index.users))
        elif kind == "User":
            yield subject
        elif name == "system:authenticated":
            yield subject
            yield from (f"User:{user}" for user in tuple(self._index.users))
        else:
            members = self._members_of(name)
            if not members:
                yield subject
            yield from members

    def _members_of(self, group: str) -> list[str]:
        if self._members is None:
            self._members = {}
            for user, groups in self._index.users.items():
                for one in groups:
                    self._members.setdefault(one, []).append(f"User:{user}")
        return self._members.get(group, [])

    def _judge(self, key: str, touched: Touched) -> None:
        old, new = self._names_of(key)
        scope = touched.scope
        before = frozenset(self._before.tables(old, scope))
        after = frozenset(self._after.tables(new, scope))
        delta = self._delta(before, after, scope == PLATFORM) if before != after else _NOTHING
        if delta == _NOTHING:
            return
        mine = self._found.setdefault(key, {})
        # What is the same further up, where it is listed, is not said again for everything below.
        lost = None if self._is_said(mine, self._before, scope, delta.lost, 0) else delta.lost
        gained = None if self._is_said(mine, self._after, scope, delta.gained, 1) else delta.gained
        if lost is not None:
            self._losing.add(key)
        if gained is not None:
            self._gaining.add(key)
        if lost is not None or gained is not None:
            mine[scope] = _Delta(lost, gained)

    @staticmethod
    def _is_said(
        mine: dict[str, _Delta], side: Overlay, scope: str, rights: Rights | None, part: int
    ) -> bool:
        if rights is None or not mine:
            return False
        above = side.scopes.chain(scope)[1:]
        return any(level in mine and mine[level][part] == rights for level in above)

    def _delta(self, before: frozenset[Table], after: frozenset[Table], urls: bool) -> _Delta:
        known = self._known.get((before, after, urls))
        if known is None:
            old, new = Held(before, urls=urls), Held(after, urls=urls)
            known = self._known[before, after, urls] = _Delta(beyond(old, new), beyond(new, old))
        return known

    def _depth(self, scope: str) -> int:
        return min(len(self._before.scopes.chain(scope)), len(self._after.scopes.chain(scope)))

    def _names_of(self, key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The subjects that somebody is, before and after."""
        known = self._subjects.get(key)
        if known is None:
            kind, _, name = key.partition(":")
            if kind == "User":
                old, new = self._before.subjects_of(name), self._after.subjects_of(name)
            else:
                old = new = _as_member(key)
            known = self._before.bound_among(old), self._after.bound_among(new)
            self._subjects[key] = known
        return known

    def _shown(self, key: str) -> Affected:
        changes = [
            Change(
                scope_text(scope),
                UNSET if delta.lost is None else delta.lost,
                UNSET if delta.gained is None else delta.gained,
            )
            for scope, delta in self._found[key].items()
        ]
        kind, name = subject_of(key) if key != EVERYONE else ("Everyone", "*")
        return Affected(kind, name, changes[:CHANGES_SHOWN], len(changes) > CHANGES_SHOWN)


def _as_member(key: str) -> tuple[str, ...]:
    """What a member of a group holds who is nobody else: the group, and what comes with it."""
    name = key.partition(":")[2]
    if key == EVERYONE or name == "system:unauthenticated":
        return tuple(dict.fromkeys((key, EVERYONE)))
    groups = [name, "system:authenticated"]
    if name.startswith("system:serviceaccounts:"):
        groups.append("system:serviceaccounts")
    return (*(f"Group:{group}" for group in dict.fromkeys(groups)), EVERYONE)
