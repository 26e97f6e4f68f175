"""Who may do what, in memory: bindings by subject and scope, and the answer to one question in microseconds.

Promises: writes are synchronous, so no check ever sees half an event; a right is gone with the event that
took it; what callers make up (verbs, resources, names, scopes, users) never makes the index grow without
bound. Not promised: that the events have arrived (see `freshness`). Source: I4–I8; design §4.

A question costs two dictionary look-ups once it has been asked before: identity, then
(scope, group, resource) → verbs merged over the whole cascade. Rules only ever allow, so "the first allow
ends it" and "the union of all levels" are the same answer.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from edge.iam.aggregation import Template
from edge.iam.graph import ScopeGraph
from edge.iam.patternbook import Entry
from edge.iam.rolebook import ANONYMOUS_ROLE, Role, RoleBook, RoleFacts
from edge.iam.rules import (
    ALL,
    BITS,
    UNNAMED,
    Table,
    asked_bit,
    asked_mask,
    spoken_of,
    ui_held,
    url_covers,
    url_path,
    url_verb,
)
from edge.iam.scope import ANONYMOUS, PLATFORM, kind_of_scope
from edge.iam.types import PolicyRule

T = TypeVar("T")
Who = str | tuple[str, tuple[str, ...]]
"""A user or service account of ours by name; or a name with the groups that a Kubernetes API server vouches
for (a SubjectAccessReview), whose own groups are not looked up."""

EVERYONE: Final = "any"
WIDE: Final = 1000
"""Identities that one event may touch one by one; beyond it all are dropped at once, in constant time."""
MASKS_EACH: Final = 4096
URL_SCOPE: Final = PLATFORM
_ACCOUNT: Final = "system:serviceaccount:"


class Binding(NamedTuple):
    """A binding as the index keeps it. uid: of the scope's object, where it is named; born: when made.

    pinned: its own label says in which cluster the scope is, so it stays when the scope's object moves.
    """

    name: str
    role: str
    scope: str
    subjects: tuple[str, ...]
    uid: str = ""
    born: str = ""
    pinned: bool = False


class Grant(NamedTuple):
    """One way by which somebody has rights at a scope. binding is "" for the anonymous role."""

    scope: str
    subject: str
    binding: str
    role: str
    table: Table


class Identity:
    """A caller whose questions are remembered. gen moves whenever what was remembered no longer holds."""

    __slots__ = ("gen", "masks", "names", "subjects", "used", "views", "who")

    def __init__(self, who: Who, subjects: tuple[str, ...], gen: int) -> None:
        self.who = who
        self.subjects = subjects
        self.gen = gen
        self.used = True
        self.views: dict[str, tuple[Table, ...]] = {}
        self.masks: dict[tuple[str, str, str], int] = {}
        self.names: dict[tuple[str, str, str], dict[str, int]] = {}


class Index:
    def __init__(self, size: int = 10_000) -> None:
        self.size = size
        self.scopes = ScopeGraph()
        self.book = RoleBook()
        self.bindings: dict[str, Binding] = {}
        self.users: dict[str, tuple[str, ...]] = {}
        """Users who may act, with their groups; a disabled or deleted one is not in it."""
        self.by_scope: dict[str, set[str]] = {}
        self.of_role: dict[str, set[str]] = {}
        self.epoch = 0
        self._serial = 0
        self.on_drop: Callable[[list[Who] | None], None] = _nobody
        """Called after identities were dropped, with who they are, or None for all of them."""
        self.on_scopes: Callable[[], None] = _nothing
        """Called after what lies in some scope has changed, whoever has rights there."""
        self._by_subject: dict[str, dict[str, dict[str, Binding]]] = {}
        self._identities: dict[Who, Identity] = {}
        self._members: dict[str, set[Who]] = {}
        self._grave: list[object] = []
        self._old: list[dict[Who, Identity]] = []

    # -- events ----------------------------------------------------------------------------------------------

    def put_template(self, name: str, template: Template | None) -> None:
        self._roles_changed(self.book.put_template(name, template))

    def put_role(self, facts: RoleFacts) -> None:
        if self.book.put_role(facts):
            self._roles_changed((facts.name,))

    def drop_role(self, name: str) -> None:
        if self.book.drop_role(name):
            self._roles_changed((name,))

    def put_binding(self, binding: Binding) -> None:
        old = self.bindings.get(binding.name)
        if old == binding:
            return
        if old is not None:
            self._unlink(old)
        self.bindings[binding.name] = binding
        self.of_role.setdefault(binding.role, set()).add(binding.name)
        self.by_scope.setdefault(binding.scope, set()).add(binding.name)
        for subject in binding.subjects:  # ten thousand in one binding, and still a short turn
            by_scope = self._by_subject.get(subject)
            if by_scope is None:
                self._by_subject[subject] = {binding.scope: {binding.name: binding}}
            else:
                by_scope.setdefault(binding.scope, {})[binding.name] = binding
        # Once, after both halves: nobody may be told of a state in which the binding is not there at all.
        self._hit({*binding.subjects, *(old.subjects if old else ())})

    def drop_binding(self, name: str) -> None:
        binding = self.bindings.get(name)
        if binding is not None:
            self._unlink(binding)
            self._hit(binding.subjects)

    def _unlink(self, binding: Binding) -> None:
        del self.bindings[binding.name]
        _discard(self.of_role, binding.role, binding.name)
        _discard(self.by_scope, binding.scope, binding.name)
        for subject in dict.fromkeys(binding.subjects):
            by_scope = self._by_subject[subject]
            by_scope[binding.scope].pop(binding.name, None)
            if not by_scope[binding.scope]:
                del by_scope[binding.scope]
            if not by_scope:
                del self._by_subject[subject]

    def put_user(self, name: str, groups: Iterable[str]) -> None:
        """A user who may act. `system:*` groups of a user object are data and never a subject (R13)."""
        kept = tuple(group for group in groups if not group.startswith("system:"))
        if self.users.get(name) != kept:
            self.users[name] = kept
            self._forget(name)

    def drop_user(self, name: str) -> None:
        """A user who is gone or disabled: only what everyone may do is left."""
        if self.users.pop(name, None) is not None:
            self._forget(name)

    def put_scope(self, key: str, wants: Iterable[str] = (), uid: str = "", born: str = "") -> None:
        """A scope, and the scopes it lies in (those that exist count, else its cluster)."""
        self._scopes_changed(self.scopes.put(key, wants, uid, born))

    def drop_scope(self, key: str) -> None:
        self._scopes_changed(self.scopes.drop(key))

    def put_pattern(self, owner: str, entry: Entry | None) -> None:
        """A ScopePattern that is in force; None takes its scope type away, and what is bound there."""
        if self.scopes.registered.put(owner, entry):
            self._drop_all()
            self.on_scopes()

    def _roles_changed(self, names: Iterable[str]) -> None:
        found: set[str] = set()
        for name in names:
            if name == ANONYMOUS_ROLE or len(found) > WIDE:
                return self._drop_all()
            for binding in self.of_role.get(name, ()):
                found.update(self.bindings[binding].subjects)
        return self._hit(found)

    def _scopes_changed(self, keys: Collection[str]) -> None:
        found: set[str] = set()
        for key in keys:
            for binding in self.by_scope.get(key, ()):
                found.update(self.bindings[binding].subjects)
        self._hit(found)
        if keys:
            self.on_scopes()

    def _hit(self, subjects: Iterable[str]) -> None:
        found: set[Who] = set()
        for subject in subjects:
            if members := self._members.get(subject):
                found |= members
            if len(found) > WIDE:
                return self._drop_all()
        dropped = [self._identities[who] for who in found if who in self._identities]
        for identity in dropped:
            self._clear(identity)
        if dropped:
            self.on_drop([identity.who for identity in dropped])
        return None

    def _clear(self, identity: Identity) -> None:
        identity.gen = self._next()
        # Freeing is the slow part, so it is done later and in slices.
        self._grave += (identity.views, identity.masks, identity.names)
        identity.views, identity.masks, identity.names = {}, {}, {}

    def _next(self) -> int:
        """Of all identities: one that was forgotten and comes back must not be taken for what it was."""
        self._serial += 1
        return self._serial

    def _drop_all(self) -> None:
        self.epoch += 1
        if self._identities:
            self._old.append(self._identities)
            self._grave.append(self._members)
        self._identities, self._members = {}, {}
        self.on_drop(None)

    def _forget(self, who: Who) -> None:
        identity = self._identities.pop(who, None)
        if identity is not None:
            self._clear(identity)
            for subject in identity.subjects:
                _discard(self._members, subject, who)
            self.on_drop([who])

    def sweep(self, limit: int = 100) -> bool:
        """Free some of what was dropped; True while there is more. Called once per turn of the event loop."""
        del self._grave[-limit:]
        left = limit
        while self._old and left:
            batch = self._old[-1]
            while batch and left:
                batch.popitem()
                left -= 1
            if not batch:
                self._old.pop()
        return bool(self._grave or self._old)

    # -- questions -------------------------------------------------------------------------------------------

    @property
    def remembered(self) -> int:
        """Callers whose rights are worked out."""
        return len(self._identities)

    def check(self, who: Who, scope: str, verb: str, group: str, resource: str, name: str = "") -> bool:
        """Whether `who` may do `verb` on `resource` ("pods", "pods/log") at `scope`, a scope key.

        name "" is a request without a name: rules that are limited to names do not count for it.
        """
        identity = self._identities.get(who) or self.identity(who)
        key = (scope, group, resource)
        verbs = identity.masks.get(key)
        if verbs is None:
            verbs = self._fill(identity, key)
        asked = BITS.get(verb, UNNAMED)
        if verbs & asked:
            return True
        if not name or key not in identity.names:
            return False
        return bool(identity.names[key].get(name, 0) & asked)

    def check_url(self, who: Who, verb: str, path: str) -> bool:
        """Whether `who` may ask for a path that is no resource; such rules hold at the platform only."""
        view = self.view(self.identity(who), URL_SCOPE)
        return any(table.grants_url(path, verb) for table in view)

    def ui(self, who: Who, scope: str) -> frozenset[str]:
        """Console rights at a scope."""
        return frozenset[str]().union(*(table.ui for table in self.view(self.identity(who), scope)))

    def generation(self, who: Who) -> str:
        """Another one whenever the caller's rights may have changed; none comes twice in a process."""
        return f"{self.epoch}.{self.identity(who).gen}"

    def identity(self, who: Who) -> Identity:
        found = self._identities.get(who)
        if found is None:
            self._make_room()
            found = self._identities[who] = Identity(who, self.subjects_of(who), self._next())
            for subject in found.subjects:
                self._members.setdefault(subject, set()).add(who)
        found.used = True
        return found

    def _make_room(self) -> None:
        while len(self._identities) >= self.size:  # second chance: an LRU that needs no write per hit
            oldest = next(iter(self._identities))
            identity = self._identities[oldest]
            if identity.used:
                identity.used = False
                self._identities[oldest] = self._identities.pop(oldest)
            else:
                self._forget(oldest)

    def subjects_of(self, who: Who) -> tuple[str, ...]:
        """The keys under which bindings name the caller."""
        if isinstance(who, tuple):
            return (f"User:{who[0]}", *(f"Group:{group}" for group in who[1]), EVERYONE)
        if who == "system:anonymous":
            return ("User:system:anonymous", "Group:system:unauthenticated", EVERYONE)
        if who.startswith(_ACCOUNT) and who.count(":") == 3:
            namespace = who.split(":")[2]
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        elif who in self.users:
            groups = ("system:authenticated", *self.users[who])
        else:
            return (EVERYONE,)
        return (f"User:{who}", *(f"Group:{group}" for group in groups), EVERYONE)

    def bound(self, subjects: Iterable[str]) -> Iterator[Binding]:
        """Every binding that names one of the subjects, at any scope."""
        for subject in subjects:
            for bindings in self._by_subject.get(subject, {}).values():
                yield from bindings.values()

    def is_bound(self, subject: str) -> bool:
        """Whether some binding names the subject."""
        return subject in self._by_subject

    def subjects_from(self, prefix: str) -> list[str]:
        """Every subject that some binding names and whose key begins so. Looks at all there are."""
        return [subject for subject in self._by_subject if subject.startswith(prefix)]

    def bound_at(self, subject: str, scope: str) -> Iterable[Binding]:
        """The bindings at one scope that name the subject."""
        return self._by_subject.get(subject, {}).get(scope, {}).values()

    def holds(self, who: Who, role: str, scope: str) -> bool:
        """Whether a binding at this very scope gives the caller the role, and counts."""
        for subject in self.subjects_of(who):
            for binding in self._by_subject.get(subject, {}).get(scope, {}).values():
                if binding.role == role and self.role_of(binding) is not None:
                    return True
        return False

    def role_of(self, binding: Binding) -> Role | None:
        """The role that a binding gives, or None when the binding counts for nothing."""
        role = self.book.roles.get(binding.role)
        if role is None or not role.fits(binding.scope, kind_of_scope(binding.scope)):
            return None
        return role if self.scopes.admits(binding.scope, binding.uid, binding.born) else None

    def visit(self, subjects: Iterable[str], scope: str) -> Iterator[Grant]:
        """One pass over everything that concerns (subjects, scope), nearest scope first (I5)."""
        mine = [(subject, found) for subject in subjects if (found := self._by_subject.get(subject))]
        for level in self.scopes.chain(scope):
            for subject, by_scope in mine:
                for binding in by_scope.get(level, {}).values():
                    if role := self.role_of(binding):
                        for table in role.tables():
                            yield Grant(level, subject, binding.name, binding.role, table)
        if (role := self.book.roles.get(ANONYMOUS_ROLE)) and role.facts.scope == "platform":
            for table in role.tables():
                yield Grant(ANONYMOUS, EVERYONE, "", ANONYMOUS_ROLE, table)

    def view(self, identity: Identity, scope: str) -> tuple[Table, ...]:
        """The tables in force for a caller at a scope, each once."""
        found = identity.views.get(scope)
        if found is None:
            identity.used = True
            if len(identity.views) >= MASKS_EACH:
                self._clear(identity)
            found = tuple({grant.table: None for grant in self.visit(identity.subjects, scope)})
            identity.views[scope] = found
        return found

    def _fill(self, identity: Identity, key: tuple[str, str, str]) -> int:
        verbs, names = 0, dict[str, int]()
        for table in self.view(identity, key[0]):
            match = table.match(key[1:])
            verbs |= match.verbs
            for name, extra in match.names.items():
                names[name] = names.get(name, 0) | extra
        if len(identity.masks) >= MASKS_EACH:
            self._clear(identity)
        if names:
            identity.names[key] = names
        identity.masks[key] = verbs
        return verbs

    # -- escalation ------------------------------------------------------------------------------------------

    def missing(self, who: Who, scope: str, rules: Iterable[PolicyRule], ui: Iterable[str] = ()) -> list[str]:
        """What of `rules` the caller does not hold at `scope`, as text; empty: granting it gives nothing new.

        A `*` verb is held only through a `*` verb, a literal `*` group or resource only through a `*` rule.
        """
        found = {one: None for rule in rules for one in self.missing_of(who, scope, rule)}
        return list(found | dict.fromkeys(self.missing_ui(who, scope, ui)))

    def missing_of(self, who: Who, scope: str, rule: PolicyRule) -> Iterator[str]:
        """What of one rule the caller does not hold at `scope`."""
        everywhere = self._bits_of(who, scope, "*", "*", "")
        for (group, resource), verbs in spoken_of(rule):
            needed = asked_mask(verbs)
            if not needed & ~everywhere:
                continue
            for name in rule.resource_names or ("",):
                held = self._bits_of(who, scope, group, resource, name)
                if needed & ~held:
                    shown = f"{resource}{'.' + group if group else ''} {name}".rstrip()
                    yield from (f"{verb} {shown}" for verb in verbs if asked_bit(verb) & ~held)
        if scope == URL_SCOPE and rule.non_resource_urls:
            yield from self._missing_urls(who, rule)

    def missing_ui(self, who: Who, scope: str, ui: Iterable[str]) -> Iterator[str]:
        held = self.ui(who, scope)
        return (f"console right {one}" for one in ui if not ui_held(one, held))

    def _bits_of(self, who: Who, scope: str, group: str, resource: str, name: str) -> int:
        """Bits of the verbs that a caller holds on a resource, under a name if there is one."""
        identity, key = self.identity(who), (scope, group, resource)
        verbs = identity.masks.get(key)
        if verbs is None:
            verbs = self._fill(identity, key)
        return verbs | identity.names.get(key, {}).get(name, 0) if name else verbs

    def _missing_urls(self, who: Who, rule: PolicyRule) -> Iterator[str]:
        view = self.view(self.identity(who), URL_SCOPE)
        mine = [one for table in view for one in table.urls]
        for url in map(url_path, rule.non_resource_urls):
            for verb in map(url_verb, rule.verbs):
                need = ALL if verb == "*" else asked_bit(verb)
                if not any(verbs & need == need and url_covers(pattern, url) for pattern, verbs in mine):
                    yield f"{verb} {url}"


def _discard(sets: dict[str, set[T]], key: str, value: T) -> None:
    members = sets.get(key)
    if members is not None:
        members.discard(value)
        if not members:
            del sets[key]


def _nobody(_: list[Who] | None) -> None:
    return None


def _nothing() -> None:
    return None
