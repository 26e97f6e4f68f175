"""For each built-in role: the rights that it lacks, through every way in which rights are given (S6; I2).

A holder of one role tries to give itself each right that any built-in role has and its own has not. Rights
that it does hold it may give by the same ways, so a refusal of everything would not pass either.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest
from msgspec import UNSET
from tests.unit.iam.test_escalation import World

from edge.iam.builtin import everything, roles, templates
from edge.iam.index import Index
from edge.iam.scope import PLATFORM
from edge.iam.types import (
    GROUP,
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleAggregation,
    RoleRef,
    RoleTemplate,
    RoleTemplateSpec,
    Subject,
    User,
    UserSpec,
)
from edge_kube.core import Namespace
from edge_kube.meta import LabelSelector, ObjectMeta, Resource
from edge_sdk.scopes import IAM_SCOPE_LABEL, IAM_SCOPE_VALUE_LABEL, WORKSPACE_LABEL

HOLDER = "climber"
PLACES = {
    "platform": ("p", "global"),
    "cluster": ("c/host", "host"),
    "workspace": ("w/host/press", "press"),
    "nodegroup": ("g/host/ovens", "ovens"),
    "namespace": ("n/host/press-a", "press-a"),
}
JOIN = "iam.theriseunion.io/aggregate-to-climbed"
HELD_MAX, LACKED_MAX = 12, 60
"""Rights of each role that are tried, spread over all of them: each is tried in seven ways."""


class Right(NamedTuple):
    verb: str
    group: str
    resource: str

    @property
    def rule(self) -> PolicyRule:
        return PolicyRule(verbs=(self.verb,), api_groups=(self.group,), resources=(self.resource,))


def all_rights() -> list[Right]:
    """Each right that a built-in template or role spells out; a star stands for itself and one example."""
    rules = [rule for one in templates().values() for rule in one.spec.rules]
    rules += [rule for one in roles().values() for rule in one.spec.rules]
    found = {
        Right(verb, group, resource)
        for rule in rules
        for verb in rule.verbs
        for group in rule.api_groups
        for resource in rule.resources
    }
    extra = [Right("*", "*", "*"), Right("delete", "", "secrets"), Right("impersonate", "", "users")]
    extra += [Right(verb, GROUP, "iamroles") for verb in ("bind", "escalate")]
    return sorted(found | set(extra))


def labels(scope: str, **more: str) -> Mapping[str, str]:
    return {IAM_SCOPE_LABEL: scope, IAM_SCOPE_VALUE_LABEL: PLACES[scope][1], **more}


def role(name: str, scope: str, *rules: PolicyRule, joins: bool = False) -> IAMRole:
    aggregation = RoleAggregation(role_selector=LabelSelector(match_labels={JOIN: ""})) if joins else UNSET
    spec = IAMRoleSpec(rules=rules, aggregation_role_templates=aggregation)
    return IAMRole(metadata=ObjectMeta(name=name, labels=labels(scope)), spec=spec)


def binding(name: str, scope: str, bound: str, kind: str, who: str) -> IAMRoleBinding:
    return IAMRoleBinding(
        metadata=ObjectMeta(name=name, labels=labels(scope)),
        spec=IAMRoleBindingSpec(
            role_ref=RoleRef(api_group=GROUP, kind="IAMRole", name=bound),
            subjects=(Subject(kind=kind, name=who),),
        ),
    )


def person(name: str, *groups: str) -> User:
    return User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=groups))


def climber(name: str, scope: str) -> World:
    """The holder of one built-in role, who natively may write every object."""
    world = World(everything())
    world.exists("nodegroup", "ovens")
    home = {WORKSPACE_LABEL: "press"}
    world.put(Namespace(metadata=ObjectMeta(name="press-a", labels=home)))
    world.put(person(HOLDER))
    world.put(binding("held", scope, name, "User", HOLDER))
    # Their own role takes in templates by a label, and a colleague and a group stand beside them.
    world.put(role("own", scope, joins=True))
    world.put(binding("own", scope, "own", "User", HOLDER))
    return world


def ways(world: World, scope: str, right: Right) -> Iterator[tuple[str, Resource]]:
    """(name of the way, the change). What stands ready was made by somebody who may everything."""
    marked = {IAM_SCOPE_LABEL: scope, JOIN: ""}
    yield "a new role", role("fresh", scope, right.rule)
    yield "a rule more in a role that one has", role("own", scope, right.rule, joins=True)
    yield (
        "a new template with the label of a role",
        RoleTemplate(
            metadata=ObjectMeta(name="mine", labels=marked), spec=RoleTemplateSpec(rules=(right.rule,))
        ),
    )
    unmarked = RoleTemplate(
        metadata=ObjectMeta(name="stray", labels={IAM_SCOPE_LABEL: scope}),
        spec=RoleTemplateSpec(rules=(right.rule,)),
    )
    world.put(unmarked)
    yield (
        "the label on a template that is there",
        RoleTemplate(metadata=ObjectMeta(name="stray", labels=marked), spec=unmarked.spec),
    )
    world.put(role("better", scope, right.rule))
    yield "a binding of a better role", binding("up", scope, "better", "User", HOLDER)
    yield "a binding to everybody", binding("up", scope, "better", "Group", "system:authenticated")
    world.put(binding("crew", scope, "better", "Group", "crew"))
    yield "a group", person(HOLDER, "crew")
    world.put(binding("gone", scope, "better", "User", "gone-user"))
    yield "a user that is made anew", person("gone-user")
    yield "another role in a binding that is there", binding("held", scope, "better", "User", HOLDER)


def spread(found: list[Right], most: int) -> list[Right]:
    step = max(1, len(found) // most)
    return found[::step]


def holds(index: Index, at: str, right: Right) -> bool:
    return not list(index.missing_of(HOLDER, at, right.rule))


@pytest.mark.parametrize("name", sorted(roles()))
def test_S6_no_built_in_role_climbs_by_any_way(name: str) -> None:
    scope = roles()[name].metadata.labels[IAM_SCOPE_LABEL]
    at = PLACES[scope][0]
    world = climber(name, scope)
    rights = all_rights()
    lacked = [one for one in rights if not holds(world.index, at, one)]
    held = [one for one in rights if holds(world.index, at, one)]
    assert lacked or name == "platform-admin"
    assert held or name == "anonymous", "else nothing below says anything about the role"
    for right in spread(lacked, LACKED_MAX):
        for way, change in ways(world, scope, right):
            assert world.lacks(HOLDER, change) != [], (name, way, right)
    for right in spread(held, HELD_MAX):
        for way, change in ways(world, scope, right):
            assert world.lacks(HOLDER, change) == [], (name, way, right)


@pytest.mark.parametrize("name", sorted(one for one in roles() if one != "platform-admin"))
def test_S6_no_built_in_role_gives_what_it_holds_at_a_place_where_it_holds_it_not(name: str) -> None:
    scope = roles()[name].metadata.labels[IAM_SCOPE_LABEL]
    world = climber(name, scope)
    for other, (at, _) in PLACES.items():
        if not holds(world.index, at, Right("get", "", "pods")):
            world.put(role(f"reads-{other}", other, Right("get", "", "pods").rule))
            change = binding("elsewhere", other, f"reads-{other}", "User", HOLDER)
            assert world.lacks(HOLDER, change) != [], (name, other)


@pytest.mark.parametrize("name", sorted(roles()))
def test_S6_of_the_built_in_roles_the_administrators_alone_may_act_as_others(name: str) -> None:
    scope = roles()[name].metadata.labels[IAM_SCOPE_LABEL]
    may = climber(name, scope).index.check(HOLDER, PLATFORM, "impersonate", "", "users", "somebody")
    assert may == (name == "platform-admin")
