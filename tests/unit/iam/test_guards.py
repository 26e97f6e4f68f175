"""What admission refuses of templates, roles and bindings: the field, the value, what would do (S6, S8)."""

import pytest

from edge.iam.builtin import everything
from edge.iam.guards import check_binding, check_role, check_template
from edge.iam.types import (
    IAMRole,
    IAMRoleBinding,
    IAMRoleBindingSpec,
    IAMRoleSpec,
    PolicyRule,
    RoleRef,
    RoleTemplate,
    RoleTemplateSpec,
    Subject,
)
from edge_kube.meta import ObjectMeta

SCOPE = "iam.theriseunion.io/scope"
VALUE = "iam.theriseunion.io/scope-value"


def binding(*subjects: Subject, kind: str = "IAMRole", **labels: str) -> IAMRoleBinding:
    ref = RoleRef(api_group="iam.theriseunion.io", kind=kind, name="r")
    meta = ObjectMeta(name="b", labels={f"iam.theriseunion.io/{key}": value for key, value in labels.items()})
    return IAMRoleBinding(metadata=meta, spec=IAMRoleBindingSpec(role_ref=ref, subjects=subjects))


def test_everything_that_ships_is_admitted() -> None:
    for one in everything():
        if isinstance(one, RoleTemplate):
            assert not check_template(one, None), one.metadata.name
        elif isinstance(one, IAMRole):
            assert not check_role(one, one), one.metadata.name


def test_a_binding_cannot_be_carried_to_another_scope_by_its_labels() -> None:
    old = binding(scope="workspace")
    assert [one.field for one in check_binding(binding(scope="platform"), old)] == [
        f"metadata.labels[{SCOPE}]"
    ]
    assert check_binding(binding(), old)
    assert not check_binding(binding(scope="workspace"), old)
    assert not check_binding(old, binding())


def test_roles_and_templates_keep_their_scope_too() -> None:
    here = ObjectMeta(name="r", labels={SCOPE: "workspace", VALUE: "press"})
    there = ObjectMeta(name="r", labels={SCOPE: "workspace", VALUE: "paint"})
    assert check_role(IAMRole(metadata=there), IAMRole(metadata=here))[0].accepted == "press"
    wide = RoleTemplate(
        metadata=ObjectMeta(name="t", labels={SCOPE: "platform"}), spec=RoleTemplateSpec(rules=())
    )
    assert check_template(wide, RoleTemplate(metadata=here, spec=RoleTemplateSpec(rules=())))


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (PolicyRule(verbs=(), api_groups=("",), resources=("pods",)), "spec.rules[0].verbs"),
        (PolicyRule(verbs=("get",), resources=("pods",)), "spec.rules[0].apiGroups"),
        (PolicyRule(verbs=("get",), api_groups=("",)), "spec.rules[0].resources"),
        (
            PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",), resource_names=("",)),
            "spec.rules[0].resourceNames",
        ),
    ],
)
def test_a_rule_that_allows_nothing_is_refused_with_its_field(rule: PolicyRule, field: str) -> None:
    role = IAMRole(metadata=ObjectMeta(name="r"), spec=IAMRoleSpec(rules=(rule,)))
    assert [one.field for one in check_role(role, None)] == [field]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (binding(kind="ClusterRole"), "spec.roleRef.kind"),
        (binding(Subject(kind="Robot", name="r2")), "spec.subjects[0].kind"),
        (binding(Subject(kind="User", name="")), "spec.subjects[0].name"),
        (binding(Subject(kind="ServiceAccount", name="sa")), "spec.subjects[0].namespace"),
        (binding(Subject(kind="Group", name="system:masters")), "spec.subjects[0].name"),
        (binding(Subject(kind="Group", name="system:nodes")), "spec.subjects[0].name"),
        (binding(Subject(kind="User", name="system:kube-scheduler")), "spec.subjects[0].name"),
    ],
)
def test_a_binding_that_names_nobody_or_no_role_is_refused(given: IAMRoleBinding, field: str) -> None:
    assert [one.field for one in check_binding(given, None)] == [field]


def test_everybody_and_service_accounts_may_be_bound() -> None:
    named = [
        ("Group", "system:authenticated"),
        ("Group", "system:unauthenticated"),
        ("Group", "system:serviceaccounts"),
        ("Group", "system:serviceaccounts:press"),
        ("User", "system:anonymous"),
        ("User", "system:serviceaccount:press:printer"),
    ]
    assert not check_binding(binding(*(Subject(kind=kind, name=name) for kind, name in named)), None)


def test_of_very_many_mistakes_the_first_are_told() -> None:
    subjects = (Subject(kind="Group", name="system:masters"),) * 10_000
    assert len(check_binding(binding(*subjects), None)) == 20
    role = IAMRole(metadata=ObjectMeta(name="r"), spec=IAMRoleSpec(rules=(PolicyRule(verbs=()),) * 5_000))
    assert len(check_role(role, None)) == 20


def test_a_binding_of_ten_thousand_subjects_is_admitted() -> None:
    many = tuple(Subject(kind="User", name=f"user-{n}") for n in range(10_000))
    assert not check_binding(binding(*many, scope="workspace"), None)


def test_a_stored_role_with_a_bad_rule_still_takes_labels() -> None:
    spec = IAMRoleSpec(rules=(PolicyRule(verbs=()),))
    old = IAMRole(metadata=ObjectMeta(name="r"), spec=spec)
    new = IAMRole(metadata=ObjectMeta(name="r", labels={"team": "a"}), spec=spec)
    assert not check_role(new, old)
