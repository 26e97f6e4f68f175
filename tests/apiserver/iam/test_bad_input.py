"""What makes no sense among roles, templates, bindings and workspaces, on a real API server with admission.

It is refused with its field, or stored and said in the status what it comes to; it never gives a right.
"""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.admitted import Admitted, bound, group, labels, user

from edge.iam.aggregation import DEPENDENCIES_ANNOTATION
from edge.iam.types import (
    IAMRole,
    IAMRoleBinding,
    IAMRoleSpec,
    PolicyRule,
    RoleAggregation,
    RoleTemplate,
    RoleTemplateSpec,
    User,
)
from edge.tenancy.types import Workspace, WorkspaceSpec, WorkspaceTemplate
from edge_kube.core import Namespace
from edge_kube.errors import ApiError, Forbidden, Invalid
from edge_kube.harness.kube import Kube
from edge_kube.meta import Condition, ObjectMeta
from edge_sdk.scopes import IAM_SCOPE_LABEL, WORKSPACE_LABEL

PRESS = "w/host/press"


@pytest_asyncio.fixture
async def world(kube: Kube) -> AsyncIterator[Admitted]:
    """ann administers the workspace press, eve nothing; both may write everything natively."""
    made = await Admitted.begin(kube)
    for name in ("ann", "eve"):
        await made.person(name)
    await kube.create(Workspace(metadata=ObjectMeta(name="press")))
    await kube.create(bound("press-admin", "workspace-admin", "workspace", "press", user("ann")))
    await made.knows("ann", PRESS, "list", "pods")
    await made.may_write("ann", "eve")
    yield made


def rule(verbs: str = "get", resources: str = "pods", groups: tuple[str, ...] = ("",)) -> PolicyRule:
    return PolicyRule(verbs=tuple(verbs.split()), api_groups=groups, resources=tuple(resources.split()))


def role(name: str, scope: str, value: str, *rules: PolicyRule, names: tuple[str, ...] = ()) -> IAMRole:
    spec = IAMRoleSpec(rules=rules)
    if names:
        spec = IAMRoleSpec(rules=rules, aggregation_role_templates=RoleAggregation(template_names=names))
    return IAMRole(metadata=ObjectMeta(name=name, labels=labels(scope, value)), spec=spec)


def template(name: str, scope: str, *rules: PolicyRule, needs: str = "") -> RoleTemplate:
    annotations = {DEPENDENCIES_ANNOTATION: needs} if needs else {}
    meta = ObjectMeta(name=name, labels={IAM_SCOPE_LABEL: scope}, annotations=annotations)
    return RoleTemplate(metadata=meta, spec=RoleTemplateSpec(rules=rules))


def says(of: IAMRole | IAMRoleBinding, kind: str, reason: str) -> Condition | None:
    return next((one for one in of.status.conditions if (one.type, one.reason) == (kind, reason)), None)


async def told(world: Admitted, of: type[IAMRole] | type[IAMRoleBinding], name: str, reason: str) -> str:
    """The message of the condition with this reason, when it comes."""
    kind = "TemplatesResolved" if reason in ("TemplatesMissing", "DependencyCycle") else "Accepted"
    found = await world.kube.eventually(of, name, lambda one: says(one, kind, reason) is not None)
    condition = says(found, kind, reason)
    assert condition is not None
    return condition.message


async def test_a_binding_that_comes_to_nothing_gives_nothing_and_says_why(world: Admitted) -> None:
    eve = user("eve")
    for made, reason, message in (
        (bound("b1", "not-made", "workspace", "press", eve), "RoleMissing", "no IAMRole not-made"),
        (
            bound("b2", "cluster-admin", "workspace", "press", eve),
            "ScopeMismatch",
            "the role cluster-admin is for cluster .any., the binding for workspace press",
        ),
        (bound("b3", "workspace-admin", "planet", "earth", eve), "ScopeUnknown", "no scope type planet"),
        (bound("b4", "workspace-admin", "", "", eve), "ScopeUnknown", r"\(none\).* name no scope"),
        (bound("b5", "platform-admin", "platform", "all", eve), "ScopeUnknown", "platform and global"),
    ):
        await world.kube.create(made)
        assert re.search(message, await told(world, IAMRoleBinding, made.metadata.name, reason))
    for scope in (PRESS, "c/host", "p", "x/planet/host/earth"):
        assert not world.index.check("eve", scope, "get", "", "pods"), scope


async def test_a_role_with_missing_templates_names_them_and_holds_the_others(world: Admitted) -> None:
    await world.kube.create(template("press-pods", "workspace", rule()))
    await world.kube.create(role("reader", "workspace", "press", names=("press-pods", "gone", "lost")))
    await world.kube.create(bound("b", "reader", "workspace", "press", user("eve")))
    message = await told(world, IAMRole, "reader", "TemplatesMissing")
    assert "gone, lost" in message
    assert "The other templates are in force" in message
    await world.knows("eve", PRESS, "get", "pods")
    await world.kube.create(template("gone", "workspace", rule("list")))
    await world.knows("eve", PRESS, "list", "pods")


async def test_a_role_of_an_unknown_scope_type_gives_nothing_and_says_so(world: Admitted) -> None:
    await world.kube.create(IAMRole(metadata=ObjectMeta(name="bare"), spec=IAMRoleSpec(rules=(rule(),))))
    await world.kube.create(bound("b", "bare", "workspace", "press", user("eve")))
    assert "it has no label" in await told(world, IAMRole, "bare", "ScopeUnknown")
    await told(world, IAMRoleBinding, "b", "ScopeMismatch")
    assert not world.index.check("eve", PRESS, "get", "", "pods")


async def test_a_cycle_of_templates_is_named_and_all_of_it_counts(world: Admitted) -> None:
    await world.kube.create(template("one", "workspace", rule("get"), needs="two"))
    await world.kube.create(template("two", "workspace", rule("list"), needs="one"))
    await world.kube.create(role("round", "workspace", "press", names=("one",)))
    await world.kube.create(bound("b", "round", "workspace", "press", user("eve")))
    assert "one → two → one" in await told(world, IAMRole, "round", "DependencyCycle")
    for verb in ("get", "list"):
        await world.knows("eve", PRESS, verb, "pods")


async def test_a_rule_without_verbs_groups_or_resources_is_refused_with_its_field(world: Admitted) -> None:
    for bad, field in (
        (PolicyRule(verbs=(), api_groups=("",), resources=("pods",)), "verbs"),
        (PolicyRule(verbs=("get",), resources=("pods",)), "apiGroups"),
        (PolicyRule(verbs=("get",), api_groups=("",)), "resources"),
    ):
        for made in (role("r", "workspace", "press", rule(), bad), template("r", "workspace", rule(), bad)):
            with pytest.raises(Invalid, match=rf"spec.rules\[1\].{field}: .* accepted: "):
                await world.kube.create(made)


async def test_a_system_subject_that_no_right_reaches_is_refused_with_those_that_may_be_named(
    world: Admitted,
) -> None:
    for subject in (group("system:masters"), group("system:nodes"), user("system:kube-scheduler")):
        with pytest.raises(Invalid, match=r"spec.subjects\[0\].name: .*accepted: .*system:authenticated"):
            await world.kube.create(bound("b", "workspace-viewer", "workspace", "press", subject))
    await world.kube.create(
        bound("b", "workspace-viewer", "workspace", "press", group("system:authenticated"))
    )
    await world.knows("eve", PRESS, "list", "pods", "resources.theriseunion.io")


async def test_a_binding_of_ten_thousand_subjects_holds_for_each_and_is_counted(world: Admitted) -> None:
    people = tuple(user(f"user-{n}") for n in range(9_999))
    await world.as_user("ann").create(
        bound("many", "workspace-viewer", "workspace", "press", *people, user("eve")), manager="test"
    )
    await world.knows("eve", PRESS, "get", "pods", "resources.theriseunion.io")
    await world.kube.eventually(IAMRole, "workspace-viewer", lambda one: one.status.member_count == 10_000)
    await told(world, IAMRoleBinding, "many", "InForce")
    await world.kube.delete(IAMRoleBinding, "many")
    await world.knows("eve", PRESS, "get", "pods", "resources.theriseunion.io", wanted=False)


async def test_a_role_of_five_thousand_rules_is_judged_whole_and_counts_to_the_last(world: Admitted) -> None:
    """Its author holds all but the last; that one is found, in the seconds that admission has."""
    own = [rule("get list", f"thing-{n}", ("apps.example.io",)) for n in range(4_999)]
    await world.kube.create(role("wide", "workspace", "press", *own))
    await world.kube.create(bound("wide", "wide", "workspace", "press", user("eve")))
    await world.knows("eve", PRESS, "list", "thing-4998", "apps.example.io")
    eve = world.as_user("eve")
    last = rule("delete", "thing-1", ("apps.example.io",))
    with pytest.raises(Forbidden, match=r"does not hold there: delete thing-1\.apps\.example\.io \(403"):
        await eve.create(role("wider", "workspace", "press", *own, last), manager="test")
    await eve.create(role("as-wide", "workspace", "press", *own), manager="test")
    await world.kube.eventually(
        IAMRole, "as-wide", lambda one: says(one, "Accepted", "ScopeKnown") is not None
    )


async def test_a_deleted_users_bindings_give_nothing_and_no_namesake_is_made_by_who_holds_less(
    world: Admitted,
) -> None:
    await world.person("bob")
    await world.kube.create(bound("bobs", "workspace-admin", "workspace", "press", user("bob")))
    await world.knows("bob", PRESS, "list", "pods")
    await world.kube.delete(User, "bob")
    await world.knows("bob", PRESS, "list", "pods", wanted=False)
    with pytest.raises(Forbidden, match="it gives the role workspace-admin at workspace/press"):
        await world.as_user("eve").create(User(metadata=ObjectMeta(name="bob")), manager="test")
    await world.as_user("ann").create(User(metadata=ObjectMeta(name="bob")), manager="test")
    await world.knows("bob", PRESS, "list", "pods")


async def test_a_workspace_that_names_kube_system_does_not_get_it(world: Admitted) -> None:
    wanted = WorkspaceTemplate(namespaces=("press-a", "kube-system", "kube-later"))
    await world.as_user("eve").create(
        Workspace(metadata=ObjectMeta(name="grab"), spec=WorkspaceSpec(template=wanted)), manager="test"
    )
    found = await world.kube.eventually(
        Workspace, "grab", lambda one: any(c.reason == "NamespaceTaken" for c in one.status.conditions)
    )
    assert "kube-system" in found.status.conditions[0].message
    assert "kube-later" in found.status.conditions[0].message
    await world.kube.eventually(
        Namespace, "press-a", lambda one: one.metadata.labels.get(WORKSPACE_LABEL) == "grab"
    )
    system = await world.kube.get(Namespace, "kube-system")
    assert system.metadata.labels.get(WORKSPACE_LABEL) != "grab"
    assert await world.kube.client.find(Namespace, "kube-later") is None
    await world.kube.caught_up()
    assert not world.index.check("eve", "n/host/kube-system", "get", "", "secrets")


async def test_equal_names_of_different_kinds_and_clusters_stay_apart(world: Admitted) -> None:
    """A namespace, a workspace and a cluster may share a name; a right at one is none at another (S5)."""
    await world.kube.create(Namespace(metadata=ObjectMeta(name="press")))
    there = bound("b", "workspace-viewer", "workspace", "press", user("eve"))
    await world.kube.create(
        IAMRoleBinding(
            metadata=ObjectMeta(
                name="b", labels={**there.metadata.labels, "iam.theriseunion.io/scope-cluster": "far"}
            ),
            spec=there.spec,
        )
    )
    await world.kube.caught_up()
    for scope in (PRESS, "n/host/press", "c/host", "c/press", "n/far/press"):
        assert not world.index.check("eve", scope, "get", "resources.theriseunion.io", "pods"), scope
    assert not world.index.check("ann", "n/host/press", "get", "", "pods")
    moved = {"metadata": {"labels": {"iam.theriseunion.io/scope-cluster": "host"}}}
    with pytest.raises(ApiError, match="stays as it was made"):
        await world.kube.patch(IAMRoleBinding, "b", moved)
