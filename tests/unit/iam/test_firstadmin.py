"""The first administrator is made when missing, and never set back (R12, I14)."""

from hypothesis import given
from hypothesis import strategies as st

from edge.iam.accounts import must_change_password
from edge.iam.firstadmin import admin_binding, first_admin, plan_first_admin
from edge.iam.types import IAMRoleBinding, User, UserSpec
from edge_kube.meta import ObjectMeta

name = st.sampled_from(["admin", "root"])
users = st.none() | st.just(
    User(metadata=ObjectMeta(name="admin"), spec=UserSpec(encrypted_password="changed", email="a@b.c"))
)
bindings = st.lists(st.sampled_from(["admin", "other"]).map(admin_binding), max_size=2)


@given(username=name, user=users, present=bindings)
def test_a_carried_out_plan_leaves_nothing_to_do(
    username: str, user: User | None, present: list[IAMRoleBinding]
) -> None:
    plan = plan_first_admin(username, user, present)
    after = [*present, *([plan.binding] if plan.binding else [])]
    again = plan_first_admin(username, plan.user or user, after)
    assert (again.user, again.binding) == (None, None)


def test_an_existing_user_is_left_as_it_is() -> None:
    assert plan_first_admin("admin", User(metadata=ObjectMeta(name="admin")), []).user is None


def test_another_administrator_is_enough() -> None:
    assert plan_first_admin("admin", None, [admin_binding("ada")]).binding is None


def test_a_binding_at_another_scope_makes_no_administrator() -> None:
    below = IAMRoleBinding(
        metadata=ObjectMeta(name="x", labels={"iam.theriseunion.io/scope": "workspace"}),
        spec=admin_binding("ada").spec,
    )
    assert plan_first_admin("admin", None, [below]).binding is not None


def test_the_first_password_must_be_changed() -> None:
    assert must_change_password(first_admin("admin"))
