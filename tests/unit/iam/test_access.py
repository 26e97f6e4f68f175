"""The engine behind the gateway's question, and its freshness (I4, I6)."""

import pytest

from edge.iam.access import IndexAccess
from edge.iam.builtin import everything
from edge.iam.feed import Feed
from edge.iam.freshness import Freshness, State
from edge.iam.index import Binding, Index
from edge_kube.core import Namespace
from edge_kube.meta import ObjectMeta
from edge_sdk.access import Action, Caller
from edge_sdk.problem import Unavailable

ANN = Caller("ann")


class Platform:
    """The built-in roles, workspace press with namespace press-a, and a picture that is `silence_s` old."""

    def __init__(self) -> None:
        self.silence_s: float | None = 0.0
        self.index = Index()
        self.feed = Feed(self.index)
        for one in everything():
            self.feed.changed(None, one)
        self.feed.scope_changed("workspace", ObjectMeta(name="press"))
        labels = {"theriseunion.io/workspace": "press"}
        self.feed.changed(None, Namespace(metadata=ObjectMeta(name="press-a", labels=labels)))
        for user in ("ann", "bob"):
            self.index.put_user(user, ())
        self.access = IndexAccess(self.index, Freshness(lambda: self.silence_s))

    def bind(self, user: str, role: str, scope: str) -> None:
        self.index.put_binding(Binding(f"{user}-{role}", role, scope, (f"User:{user}",)))

    def may(self, user: str, action: Action) -> bool:
        return self.access.may(Caller(user), action).allowed


@pytest.fixture
def platform() -> Platform:
    return Platform()


READ = Action("list", "", "pods", namespace="press-a", scope="namespace/press-a")
WRITE = Action("delete", "", "pods", namespace="press-a", name="p", scope="namespace/press-a")


def test_a_member_reads_in_the_workspace_and_is_refused_next_door_with_a_sentence(platform: Platform) -> None:
    platform.bind("ann", "workspace-viewer", "w/host/press")
    assert platform.may("ann", READ)
    refused = platform.access.may(ANN, Action("list", "", "pods", namespace="lone", scope="namespace/lone"))
    assert not refused.allowed
    assert refused.reason == 'User "ann" cannot list resource "pods" in API group "" at namespace/lone'


def test_an_admin_of_the_platform_may_everything_everywhere(platform: Platform) -> None:
    platform.bind("ann", "platform-admin", "p")
    beyond = (Action("post", path="/anything"), Action("create", "x.io", "ys", scope="cluster/far"))
    for action in (READ, WRITE, *beyond):
        assert platform.may("ann", action)
        assert not platform.may("bob", action)


def test_everybody_may_ask_for_the_version_and_no_more(platform: Platform) -> None:
    assert platform.may("system:anonymous", Action("get", path="/version"))
    assert not platform.may("system:anonymous", Action("get", path="/metrics"))


def test_ones_own_password_may_be_changed_and_nobody_elses(platform: Platform) -> None:
    platform.bind("ann", "platform-regular", "p")
    group = "iam.theriseunion.io"
    mine = Action("update", group, "users", "password", name="ann")
    assert platform.may("ann", mine)
    assert not platform.may("ann", Action("update", group, "users", "password", name="bob"))
    platform.bind("bob", "platform-admin", "p")
    assert platform.may("bob", mine)


def test_a_workspace_of_a_member_cluster_is_found_by_its_name(platform: Platform) -> None:
    labels = {"scope.theriseunion.io/cluster": "far"}
    platform.feed.scope_changed("cluster", ObjectMeta(name="far"))
    platform.feed.scope_changed("workspace", ObjectMeta(name="paint", labels=labels))
    platform.bind("ann", "workspace-admin", "w/far/paint")
    action = Action("get", "scope.theriseunion.io", "workspaces", name="paint", scope="workspace/paint")
    assert platform.may("ann", action)
    assert not platform.may("bob", action)


def test_a_scope_of_an_unknown_type_is_refused(platform: Platform) -> None:
    platform.bind("ann", "platform-admin", "p")
    assert not platform.may("ann", Action("get", "", "pods", scope="planet/earth"))


@pytest.mark.parametrize(
    ("silence_s", "state", "reads", "writes"),
    [
        (0.1, State.FRESH, True, True),
        (2.0, State.STALE, True, False),
        (301.0, State.CUT_OFF, False, False),
        (None, State.UNSYNCED, False, False),
    ],
)
def test_what_is_not_known_well_enough_is_unavailable_and_never_forbidden(
    platform: Platform, silence_s: float | None, state: State, reads: bool, writes: bool
) -> None:
    platform.bind("ann", "workspace-admin", "w/host/press")
    platform.silence_s = silence_s
    assert Freshness(lambda: silence_s).state() is state
    for action, decided in ((READ, reads), (WRITE, writes)):
        if decided:
            assert platform.may("ann", action)
        else:
            with pytest.raises(Unavailable) as caught:
                platform.may("ann", action)
            assert caught.value.status == 503


def test_what_changes_something_needs_proof_that_all_has_arrived(platform: Platform) -> None:
    ages = [10.0]
    access = IndexAccess(platform.index, Freshness(lambda: 0.0, lambda: ages[0]))
    platform.bind("ann", "workspace-admin", "w/host/press")
    assert access.may(ANN, READ).allowed
    with pytest.raises(Unavailable):
        access.may(ANN, WRITE)
    assert access.decide(ANN, WRITE).allowed, "what is under way is decided by what is known"
    ages[0] = 0.1
    assert access.may(ANN, WRITE).allowed


def test_a_server_that_was_quiet_for_longer_than_usual_is_told_of() -> None:
    assert Freshness(lambda: 60.0).quiet_s() == 0
    assert Freshness(lambda: 80.0).quiet_s() == 80
    assert Freshness(lambda: None).quiet_s() == 0
