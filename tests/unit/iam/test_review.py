"""Review of grants: dangling, unused, too wide, each with a reason and a way to remove it (I19)."""

import pytest

from edge.iam.aggregation import recipe_of
from edge.iam.builtin import everything
from edge.iam.feed import Feed
from edge.iam.index import Binding, Index
from edge.iam.review import Finding, Review
from edge.iam.rolebook import ANYWHERE, RoleFacts
from edge.iam.types import IAMRole
from edge_kube.meta import ObjectMeta

PRESS = "w/host/press"


@pytest.fixture
def index() -> Index:
    made = Index()
    feed = Feed(made)
    for one in everything():
        feed.changed(None, one)
    feed.scope_changed("workspace", ObjectMeta(name="press"))
    made.put_user("ann", ("ops",))
    return made


def found(index: Index, binding: Binding, *, sees: bool = True) -> list[Finding]:
    index.put_binding(binding)
    return [one for one in Review(index, lambda _: sees).of(binding) if one is not None]


def test_a_grant_that_somebody_uses_as_meant_is_not_listed(index: Index) -> None:
    assert found(index, Binding("b", "workspace-viewer", PRESS, ("User:ann",))) == []


@pytest.mark.parametrize(
    ("binding", "says"),
    [
        (Binding("b", "gone", PRESS, ("User:ann",)), "role gone does not exist"),
        (Binding("b", "cluster-admin", PRESS, ("User:ann",)), "for another scope"),
        (Binding("b", "workspace-viewer", "w/host/none", ("User:ann",)), "workspace/none does not exist"),
        (Binding("b", "workspace-viewer", PRESS, ("User:bob",)), "user bob does not exist"),
    ],
)
def test_what_is_missing_makes_a_grant_dangling(index: Index, binding: Binding, says: str) -> None:
    (one,) = found(index, binding)
    assert one.kind == "dangling"
    assert says in one.reason
    assert one.remedy == "kubectl delete iamrolebinding b"


def test_a_group_without_users_is_unused(index: Index) -> None:
    (one,) = found(index, Binding("b", "workspace-viewer", PRESS, ("Group:empty", "User:ann")))
    assert (one.kind, one.subject) == ("unused", "Group empty")
    assert one.remedy == "take Group empty out of iamrolebinding b"


def test_everything_for_a_group_on_the_platform_is_too_wide(index: Index) -> None:
    said = found(index, Binding("b", "platform-admin", "p", ("Group:ops",)))
    assert {one.kind for one in said} == {"tooWide"}
    assert len(said) == 2


def test_of_two_equal_grants_one_is_listed_and_a_hidden_one_is_not_named(index: Index) -> None:
    first = Binding("a", "workspace-viewer", PRESS, ("User:ann",))
    second = Binding("b", "workspace-viewer", PRESS, ("User:ann",))
    index.put_binding(first)
    (one,) = found(index, second)
    assert (one.kind, "binding a" in one.reason) == ("tooWide", True)
    assert found(index, first) == []
    assert found(index, second, sees=False) == []


def test_a_role_that_gives_nothing_is_unused(index: Index) -> None:
    index.put_role(
        RoleFacts(
            "empty", "workspace", ANYWHERE, (), (), recipe_of(IAMRole(metadata=ObjectMeta(name="empty")))
        )
    )
    (one,) = found(index, Binding("b", "empty", PRESS, ("User:ann",)))
    assert (one.kind, one.reason) == ("unused", "the role empty gives nothing")


def test_what_lies_in_a_member_out_of_reach_is_not_called_gone(index: Index) -> None:
    there = Binding("b", "namespace-viewer", "n/north/shop", ("User:ann",))
    assert [one.kind for one in found(index, there)] == ["dangling"]
    index.put_scope("c/north")
    assert found(index, there) == []
