"""The first administrator is made when missing, and never set back (R12, I14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edge.iam.accounts import must_change_password
from edge.iam.firstadmin import admin_binding, first_admin, plan_first_admin
from edge.iam.types import IAMRoleBinding, Subject, User, UserSpec, UserStatus
from edge_kube.meta import ObjectMeta


def user(name: str, *groups: str, state: str = "") -> User:
    return User(metadata=ObjectMeta(name=name), spec=UserSpec(groups=groups), status=UserStatus(state=state))


def bound(name: str, *subjects: Subject) -> IAMRoleBinding:
    made = admin_binding(name)
    return structs.replace(made, spec=structs.replace(made.spec, subjects=subjects))


def _people(of: dict[str, tuple[tuple[str, ...], str]]) -> list[User]:
    return [user(name, *groups, state=state) for name, (groups, state) in of.items()]


def _bindings(of: dict[str, list[Subject]]) -> list[IAMRoleBinding]:
    return [bound(name, *subjects) for name, subjects in of.items()]


GROUPS: list[tuple[str, ...]] = [(), ("ops",)]
SUBJECTS = [
    Subject(kind="User", name="ada"),
    Subject(kind="User", name="gone"),
    Subject(kind="Group", name="ops"),
]
kinds_of_user = st.tuples(st.sampled_from(GROUPS), st.sampled_from(["", "Active", "Disabled"]))
people = st.dictionaries(st.sampled_from(["admin", "root", "ada"]), kinds_of_user).map(_people)
bindings = st.dictionaries(
    st.sampled_from(["admin", "other"]), st.lists(st.sampled_from(SUBJECTS), max_size=2)
).map(_bindings)


@given(username=st.sampled_from(["admin", "root"]), users=people, present=bindings)
def test_a_carried_out_plan_leaves_an_administrator_and_nothing_to_do(
    username: str, users: list[User], present: list[IAMRoleBinding]
) -> None:
    plan = plan_first_admin(username, users, present)
    after = [
        one for one in present if plan.binding is None or one.metadata.name != plan.binding.metadata.name
    ]
    after += [plan.binding] if plan.binding else []
    known = [*users, *([plan.user] if plan.user else [])]
    again = plan_first_admin(username, known, after)
    assert (again.user, again.binding) == (None, None)
    named = {subject.name for one in after for subject in one.spec.subjects}
    able = {one.metadata.name: one.spec.groups for one in known if one.status.state != "Disabled"}
    has_admin = any(name in named or not named.isdisjoint(groups) for name, groups in able.items())
    assert has_admin or user(username, state="Disabled").status in [
        one.status for one in known if one.metadata.name == username
    ], "only a disabled first administrator leaves none: somebody wanted that"


def test_an_existing_user_is_left_as_it_is() -> None:
    assert plan_first_admin("admin", [user("admin")], []).user is None


def test_another_administrator_is_enough_and_a_deleted_first_one_stays_deleted() -> None:
    """It would come back with a published password."""
    plan = plan_first_admin("admin", [user("ada")], [admin_binding("ada"), admin_binding("admin")])
    assert (plan.user, plan.binding) == (None, None)


@pytest.mark.parametrize(
    ("users", "present"),
    [
        ([], [admin_binding("ada")]),
        ([user("ada", state="Disabled")], [admin_binding("ada")]),
        ([user("ada", "system:masters")], [bound("x", Subject(kind="Group", name="ops"))]),
        ([user("ada")], [bound("admin")]),
    ],
)
def test_a_binding_by_which_nobody_can_sign_in_makes_no_administrator(
    users: list[User], present: list[IAMRoleBinding]
) -> None:
    plan = plan_first_admin("admin", users, present)
    assert plan.user is not None
    assert plan.binding == admin_binding("admin")


def test_a_binding_at_another_scope_makes_no_administrator() -> None:
    below = IAMRoleBinding(
        metadata=ObjectMeta(name="x", labels={"iam.theriseunion.io/scope": "workspace"}),
        spec=admin_binding("ada").spec,
    )
    assert plan_first_admin("admin", [user("ada")], [below]).binding is not None


def test_the_first_password_must_be_changed() -> None:
    assert must_change_password(first_admin("admin"))
