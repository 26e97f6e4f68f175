"""Whose access a change gives and takes: single cases, sentences, bounds and speed (I2, I8; design §6)."""

import time

import pytest

from edge.iam.builtin import everything
from edge.iam.difference import Held, beyond
from edge.iam.feed import Feed
from edge.iam.impact import JUDGED_MAX, SUBJECTS_SHOWN, Impact, ImpactResult, Sees
from edge.iam.impacttext import sentences
from edge.iam.index import Binding, Index
from edge.iam.lastadmin import is_last_admin
from edge.iam.proposal import Proposal
from edge.iam.rolebook import ANYWHERE, RoleFacts
from edge.iam.rules import Source, Table
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
    User,
    UserSpec,
)
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta

PRESS = "w/host/press"
PODS = PolicyRule(verbs=("get", "list"), api_groups=("",), resources=("pods",))


@pytest.fixture
def index() -> Index:
    """ann and bob are in ops; bob reads pods at the workspace press."""
    made = Index()
    feed = Feed(made)
    for one in everything():
        feed.changed(None, one)
    for name in ("press", "paint"):
        feed.scope_changed("workspace", ObjectMeta(name=name))
    labels = {"theriseunion.io/workspace": "press"}
    feed.changed(None, Namespace(metadata=ObjectMeta(name="press-a", labels=labels)))
    made.put_user("ann", ("ops",))
    made.put_user("bob", ("ops",))
    made.put_role(RoleFacts("reader", "workspace", ANYWHERE, (PODS,), ("workspace/pods.view",), None))
    made.put_binding(Binding("b", "reader", PRESS, ("User:bob",)))
    return made


def everything_is_open(_: str) -> bool:
    return True


def nothing_is_open(_: str) -> bool:
    return False


def of(index: Index, proposal: Proposal, asker: str = "", sees: Sees = everything_is_open) -> ImpactResult:
    impact = Impact(index, proposal, asker=asker, sees=sees)
    for _ in impact.steps():
        pass
    return impact.result()


def said(index: Index, proposal: Proposal) -> list[str]:
    return sentences(of(index, proposal))


def gone(kind: str, name: str) -> Proposal:
    return Proposal(kind, name, None)


def rules(*given: PolicyRule, ui: tuple[str, ...] = (), urls: bool = False) -> Held:
    return Held([Table([Source("", n, rule) for n, rule in enumerate(given)], ui)], urls=urls)


def test_a_deleted_role_takes_rights_from_its_holders(index: Index) -> None:
    lost = "bob loses get,list pods; console rights workspace/pods.view at workspace/press"
    assert said(index, gone("IAMRole", "reader")) == [lost]
    assert said(index, gone("IAMRoleBinding", "b")) == [lost]


def test_nothing_of_the_index_is_touched(index: Index) -> None:
    before = dict(index.bindings), dict(index.book.roles), dict(index.users), index.generation("bob")
    for kind, name in (
        ("IAMRole", "reader"),
        ("IAMRoleBinding", "b"),
        ("User", "bob"),
        ("Workspace", "press"),
    ):
        of(index, gone(kind, name))
    of(index, gone("RoleTemplate", "workspace-view-members"))
    assert before == (
        dict(index.bindings),
        dict(index.book.roles),
        dict(index.users),
        index.generation("bob"),
    )
    assert index.check("bob", "n/host/press-a", "list", "", "pods")


def test_a_group_is_told_by_its_members_and_by_itself_when_it_has_none(index: Index) -> None:
    spec = IAMRoleBindingSpec(
        role_ref=RoleRef(api_group="iam.theriseunion.io", kind="IAMRole", name="reader"),
        subjects=(Subject(kind="Group", name="ops"), Subject(kind="Group", name="away")),
    )
    labels = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/scope-value": "press"}
    new = IAMRoleBinding(metadata=ObjectMeta(name="new", labels=labels), spec=spec)
    found = of(index, Proposal("IAMRoleBinding", "new", new))
    # bob holds it already.
    assert [(one.kind, one.name) for one in found.subjects] == [("Group", "away"), ("User", "ann")]
    assert (found.losing, found.gaining, found.total_is_exact) == (0, 2, True)


def test_a_user_who_leaves_a_group_loses_what_only_the_group_gave(index: Index) -> None:
    index.put_binding(Binding("g", "workspace-viewer", PRESS, ("Group:ops",)))
    left = User(metadata=ObjectMeta(name="ann"), spec=UserSpec(groups=()))
    (one,) = of(index, Proposal("User", "ann", left)).subjects
    assert (one.name, [change.scope for change in one.changes]) == ("ann", ["workspace/press"])


def test_a_namespace_that_moves_takes_the_rights_on_it_along(index: Index) -> None:
    index.put_binding(Binding("p", "reader", "w/host/paint", ("User:ann",)))
    labels = {"theriseunion.io/workspace": "paint"}
    moved = Namespace(metadata=ObjectMeta(name="press-a", labels=labels))
    assert said(index, Proposal("Namespace", "press-a", moved)) == [
        "ann gains get,list pods; console rights workspace/pods.view at namespace/press-a",
        "bob loses get,list pods; console rights workspace/pods.view at namespace/press-a",
    ]


def test_what_goes_with_a_workspace_is_said_once_for_all_that_lies_in_it(index: Index) -> None:
    assert len(said(index, gone("Workspace", "press"))) == 1


def test_a_workspace_made_anew_does_not_revive_what_was_bound_to_its_name(index: Index) -> None:
    index.put_binding(Binding("old", "reader", "w/host/later", ("User:ann",), "", "2024-01-01T00:00:00Z"))
    made = Workspace(metadata=ObjectMeta(name="later"))
    assert said(index, Proposal("Workspace", "later", made)) == ["nobody's access changes"]


def test_a_template_counts_in_every_role_that_takes_it_in(index: Index) -> None:
    index.put_binding(Binding("v", "workspace-viewer", PRESS, ("User:ann",)))
    labels = {"iam.theriseunion.io/scope": "workspace", "iam.theriseunion.io/aggregate-to-viewer": ""}
    rule = PolicyRule(verbs=("get",), api_groups=("shop.io",), resources=("carts",))
    new = RoleTemplate(metadata=ObjectMeta(name="carts", labels=labels), spec=RoleTemplateSpec(rules=(rule,)))
    assert said(index, Proposal("RoleTemplate", "carts", new)) == [
        "ann gains get carts.shop.io at workspace/press"
    ]


def test_a_wide_right_that_goes_names_what_stays_of_it() -> None:
    wide = PolicyRule(verbs=("*",), api_groups=("*",), resources=("*",))
    named = PolicyRule(
        verbs=("get",), api_groups=("apps",), resources=("deployments",), resource_names=("web",)
    )
    lost = beyond(rules(wide, PODS), rules(PODS, named))
    assert lost is not None
    (gone_rule,) = lost.rules
    assert (gone_rule.verbs, gone_rule.groups, gone_rule.resources) == (("*",), ("*",), ("*",))
    assert {(one.verbs, one.resources, one.names) for one in lost.kept} == {
        (("get", "list"), ("pods",), ()),
        (("get",), ("deployments",), ("web",)),
    }


def test_a_right_for_all_names_that_goes_names_the_names_that_stay() -> None:
    web = PolicyRule(verbs=("get",), api_groups=("",), resources=("pods",), resource_names=("web",))
    lost = beyond(rules(PODS), rules(web))
    assert lost is not None
    assert [(one.verbs, one.names) for one in lost.rules] == [(("get", "list"), ())]
    assert [(one.verbs, one.names) for one in lost.kept] == [(("get",), ("web",))]
    assert beyond(rules(web), rules(PODS)) is None


def test_paths_and_console_rights_are_compared_with_their_wildcards() -> None:
    have = rules(
        PolicyRule(verbs=("get",), non_resource_urls=("/logs*", "/metrics")), ui=("a/*", "b.view"), urls=True
    )
    other = rules(
        PolicyRule(verbs=("*",), non_resource_urls=("/logs/x", "/metrics")), ui=("a/one", "b.*"), urls=True
    )
    lost = beyond(have, other)
    assert lost is not None
    assert [one.urls for one in lost.rules] == [("/logs*",)]
    assert [one.urls for one in lost.kept] == [("/logs/x",)]
    assert (lost.ui, lost.kept_ui) == (["a/*"], ["a/one"])
    assert beyond(rules(PolicyRule(verbs=("get",), non_resource_urls=("/x",))), rules()) is None


def test_who_may_not_see_a_scope_is_told_that_something_changes_and_of_themselves(index: Index) -> None:
    hidden = of(index, gone("IAMRole", "reader"), asker="ann", sees=nothing_is_open)
    assert (hidden.subjects, hidden.total, hidden.hidden) == ([], 0, True)
    assert sentences(hidden) == ["access changes at scopes whose bindings you may not see"]
    own = of(index, gone("IAMRole", "reader"), asker="bob", sees=nothing_is_open)
    assert [one.name for one in own.subjects] == ["bob"]


def test_sentences_are_few_and_short(index: Index) -> None:
    for n in range(300):
        index.put_user(f"user-{n:03}", ())
        index.put_binding(Binding(f"many-{n}", "workspace-admin", PRESS, (f"User:user-{n:03}",)))
    found = of(index, gone("IAMRole", "workspace-admin"))
    assert (len(found.subjects), found.total, found.losing) == (SUBJECTS_SHOWN, 300, 300)
    lines = sentences(found)
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 256
    assert lines[-1].startswith("and ")
    assert "300 lose and 0 gain" in lines[-1]
    assert all(line.endswith("at workspace/press") for line in lines[:-1])


def test_the_last_who_may_everything_is_known(index: Index) -> None:
    index.put_binding(Binding("root", "platform-admin", "p", ("User:ann",)))
    assert is_last_admin(index, "root", None)
    assert is_last_admin(index, "root", Binding("root", "platform-admin", "p", ("User:gone",)))
    assert not is_last_admin(index, "root", Binding("root", "platform-admin", "p", ("Group:ops",)))
    assert not is_last_admin(index, "b", None)
    index.put_binding(Binding("second", "platform-viewer", "p", ("User:bob",)))
    assert is_last_admin(index, "root", None)
    index.put_binding(Binding("third", "platform-admin", "p", ("User:gone", "User:bob")))
    assert not is_last_admin(index, "root", None)


def test_ten_thousand_holders_are_judged_in_well_under_a_second_and_in_short_steps() -> None:
    """10,000 users, 100,000 bindings; the role that is changed is bound for each of the users."""
    index = Index()
    index.put_role(RoleFacts("reader", "workspace", ANYWHERE, (PODS,), (), None))
    index.put_role(RoleFacts("other", "workspace", ANYWHERE, (PODS,), (), None))
    for n in range(10_000):
        index.put_user(f"u{n}", (f"g{n % 100}",))
    for n in range(1_000):
        index.put_scope(f"w/host/ws{n}")
    for n in range(100_000):
        role = "reader" if n < 10_000 else "other"
        index.put_binding(Binding(f"b{n}", role, f"w/host/ws{n % 997}", (f"User:u{n % 10_000}",)))
    wider = IAMRole(
        metadata=ObjectMeta(name="reader", labels={"iam.theriseunion.io/scope": "workspace"}),
        spec=IAMRoleSpec(rules=(PolicyRule(verbs=("*",), api_groups=("",), resources=("pods",)),)),
    )
    started = time.process_time()
    impact = Impact(index, Proposal("IAMRole", "reader", wider))
    longest, last = time.process_time() - started, time.process_time()
    for _ in impact.steps():
        now = time.process_time()
        longest, last = max(longest, now - last), now
    found = impact.result()
    took = time.process_time() - started
    assert (found.gaining, found.losing, found.total_is_exact) == (10_000, 0, True)
    print(f"impact of a role of 10,000: {took * 1e3:.0f} ms, longest step {longest * 1e3:.1f} ms")
    assert took < 5  # of our own time, on a slow machine; 0.2 s on a quick one
    many = of(index, gone("IAMRole", "other"))
    assert not many.total_is_exact
    assert many.total <= JUDGED_MAX
