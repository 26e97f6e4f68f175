"""What a change is said to give and take is what it gives and takes, for every history of changes (I2, I8).

Both sides of every event are worked out anew from the raw objects; the impact has seen the index alone.
"""

import copy
import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant
from tests.unit.iam.test_index_agrees import (
    PLACES,
    USERS,
    IndexMachine,
    World,
    key_of,
    naive,
)

from edge.clusters.types import Cluster
from edge.iam.difference import Rights
from edge.iam.impact import Impact, ImpactResult
from edge.iam.proposal import Proposal
from edge.iam.rules import Source, Table
from edge.iam.scope import scope_text
from edge.iam.types import PolicyRule
from edge.nodes.types import NodeGroup
from edge.tenancy.types import Workspace
from edge_kube.meta import ObjectMeta, Resource

SCOPE_KINDS: dict[str, type[Resource]] = {"workspace": Workspace, "nodegroup": NodeGroup, "cluster": Cluster}
QUESTIONS = 120


def covered(rights: Any, verb: str, group: str, resource: str, name: str) -> bool:
    if not isinstance(rights, Rights):
        return False

    def table(rules: Any) -> Table:
        made = [
            PolicyRule(
                verbs=one.verbs, api_groups=one.groups, resources=one.resources, resource_names=one.names
            )
            for one in rules
        ]
        return Table([Source("", n, rule) for n, rule in enumerate(made)])

    pair = group, resource
    return table(rights.rules).grants(pair, name, verb) and not table(rights.kept).grants(pair, name, verb)


class _Foreseeing:
    """Takes the machine's events: first they are previewed, then they happen."""

    def __init__(self, machine: "ImpactMachine", feed: Any) -> None:
        self._machine, self._feed = machine, feed

    def changed(self, old: Resource | None, new: Resource | None, cluster: str = "") -> None:
        obj = new if new is not None else old
        assert obj is not None
        kind = type(obj).__name__
        comes_with_a_place = kind in ("Namespace", "Node") and old is None
        self._machine.foresee(
            None if comes_with_a_place else Proposal(kind, obj.metadata.name, new, cluster or "host")
        )
        self._feed.changed(old, new, cluster)

    def scope_changed(self, kind: str, meta: ObjectMeta, *, gone: bool = False) -> None:
        new = None if gone else SCOPE_KINDS[kind](metadata=meta)
        known = (kind, meta.name) in self._machine.world.scopes
        name = {"workspace": "Workspace", "nodegroup": "NodeGroup", "cluster": "Cluster"}[kind]
        self._machine.foresee(Proposal(name, meta.name, new) if known else None)
        self._feed.scope_changed(kind, meta, gone=gone)


class ImpactMachine(IndexMachine):
    def __init__(self) -> None:
        super().__init__()
        self.feed: Any = _Foreseeing(self, self.feed)
        self.foreseen: tuple[ImpactResult, dict[str, tuple[str, ...]]] | None = None
        self.events, self.before = 0, World()
        self.random = random.Random(1)

    def foresee(self, proposal: Proposal | None) -> None:
        """None: a scope that is new. What is bound to its name already has never been for it, which the raw
        objects here do not say."""
        self.events += 1
        self.foreseen = None
        if proposal is None:
            return
        impact = Impact(self.index, proposal)
        for _ in impact.steps():
            pass
        self.foreseen = impact.result(), self._chains()

    @invariant()
    def what_was_foretold_has_happened(self) -> None:
        before, events, foreseen = self.before, self.events, self.foreseen
        self.before = World(**{name: copy.copy(value) for name, value in vars(self.world).items()})
        self.events, self.foreseen = 0, None
        if foreseen is not None and events == 1:
            self.compare(before, *foreseen)

    def compare(self, before: World, result: ImpactResult, chains: dict[str, tuple[str, ...]]) -> None:
        chains = {key: (*chains[key], *chain) for key, chain in self._chains().items()}
        told = {one.name: {change.scope: change for change in one.changes} for one in result.subjects}
        for _ in range(QUESTIONS):
            who = self.random.choice((*USERS, "nobody"))
            where = self.random.choice(PLACES)
            asked = (
                self.random.choice(("get", "list", "delete", "odd")),
                self.random.choice(("", "", "apps", "new")),
                self.random.choice(("pods", "pods/log", "secrets")),
                self.random.choice(("", "a", "b", "z")),
            )
            had, has = naive(before, who, where, *asked), naive(self.world, who, where, *asked)
            named = who in before.users or who in self.world.users
            changes = told.get(who if named else "*", {})
            here = changes.get(scope_text(key_of(where)))
            above = [
                changes[scope_text(level)]
                for level in chains[key_of(where)]
                if level != "a" and scope_text(level) in changes
            ]
            if had and not has:
                assert any(covered(one.lost, *asked) for one in above), (who, where, asked, result)
            if has and not had:
                assert any(covered(one.gained, *asked) for one in above), (who, where, asked, result)
            if here is not None:
                assert covered(here.lost, *asked) <= (had and not has), (who, where, asked, result)
                assert covered(here.gained, *asked) <= (has and not had), (who, where, asked, result)

    def _chains(self) -> dict[str, tuple[str, ...]]:
        return {key_of(where): self.index.scopes.chain(key_of(where)) for where in PLACES}


ImpactMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestTheImpactAgreesWithTheObjects = ImpactMachine.TestCase
