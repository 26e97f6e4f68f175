"""Why, who can, and who could grant it, for people (I4, I8; shapes of the access calls)."""

import msgspec
import pytest

from edge.iam.builtin import everything
from edge.iam.explain import Question, explain, rules_of, who_can
from edge.iam.feed import Feed
from edge.iam.index import Binding, Index
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta

DELETE = Question("delete", "apps", "deployments", "web")


@pytest.fixture
def index() -> Index:
    """The built-in roles; workspace press with namespace press-a; ann views it, boss is its admin."""
    made = Index()
    feed = Feed(made)
    for one in everything():
        feed.changed(None, one)
    feed.scope_changed("workspace", ObjectMeta(name="press"))
    labels = {"theriseunion.io/workspace": "press"}
    feed.changed(None, Namespace(metadata=ObjectMeta(name="press-a", labels=labels)))
    for user in ("ann", "boss", "eve"):
        made.put_user(user, ())
    made.put_binding(Binding("viewers", "workspace-viewer", "w/host/press", ("User:ann",)))
    made.put_binding(Binding("admins", "workspace-admin", "w/host/press", ("User:boss",)))
    made.put_binding(Binding("wrong", "cluster-admin", "w/host/press", ("User:ann",)))
    made.put_binding(Binding("dangling", "gone", "n/host/press-a", ("User:ann",)))
    return made


def test_an_allow_names_binding_role_template_and_rule(index: Index) -> None:
    found = explain(index, "boss", "n/host/press-a", DELETE)
    assert (found.allowed, found.decided_at) == (True, "workspace/press")
    by = found.by
    assert not isinstance(by, msgspec.UnsetType)
    assert (by.binding, by.role, by.template) == ("admins", "workspace-admin", "project-manage-workloads")
    assert by.rule_index == 0
    assert [step.scope for step in found.trace] == [
        "namespace/press-a", "workspace/press", "cluster/host", "platform", "anonymous",
    ]  # fmt: skip


def test_a_denial_says_what_each_binding_lacks_and_who_could_grant_it(index: Index) -> None:
    found = explain(index, "ann", "n/host/press-a", DELETE)
    assert not found.allowed
    said = {one.binding: (one.outcome, one.missing) for step in found.trace for one in step.checked}
    assert said["viewers"] == ("noRule", "it allows get, list, watch, not delete")
    assert said["wrong"] == ("noRule", "the role cluster-admin is for another scope (cluster)")
    assert said["dangling"] == ("noRule", "the role gone does not exist")
    assert said["admins"] == ("noSubject", "")
    assert found.grant[0].scope == "namespace/press-a"
    assert found.grant[0].role == "namespace-operator"
    assert "User boss" in found.grant[0].grantors


def test_what_the_asker_may_not_see_stays_hidden(index: Index) -> None:
    found = explain(index, "boss", "n/host/press-a", DELETE, sees=lambda _: False)
    text = msgspec.json.encode(found).decode()
    assert found.allowed
    assert '"hidden":true' in text
    assert "admins" not in text
    assert "workspace-admin" not in text


def test_a_console_right_is_explained_without_a_rule(index: Index) -> None:
    found = explain(index, "ann", "w/host/press", Question(ui="workspace/members.view"))
    assert found.allowed
    assert not explain(index, "ann", "w/host/press", Question(ui="workspace/members.manage")).allowed
    assert "workspace/members.view" in index.ui("ann", "w/host/press")


def test_a_path_is_explained_at_the_platform(index: Index) -> None:
    assert explain(index, "eve", "n/host/press-a", Question("get", path="/version")).decided_at == "anonymous"
    assert not explain(index, "eve", "p", Question("get", path="/metrics")).allowed


def test_who_can_names_subjects_with_the_grant_that_gives_it(index: Index) -> None:
    found = who_can(index, "n/host/press-a", DELETE)
    assert {subject: [via.binding for via in vias] for subject, vias in found.items()} == {
        "User:boss": ["admins"]
    }
    assert who_can(index, "p", Question("get", path="/version")).keys() == {"any"}


def test_the_rules_in_force_are_listed_with_where_they_come_from(index: Index) -> None:
    templates = {source.template for source in rules_of(index, "ann", "w/host/press")}
    assert "project-view-workloads" in templates
    assert "project-manage-workloads" not in templates
