"""The engine behind the gateway's question, its freshness, and what happens to live streams (I4, I6)."""

import pytest

from edge.iam.access import IndexAccess
from edge.iam.builtin import everything
from edge.iam.feed import Feed
from edge.iam.freshness import Freshness, State
from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.streams import Stream, Streams
from edge.iam.types import PolicyRule
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


def open_watch(streams: Streams, who: str, closed: list[str]) -> None:
    def close(why: str) -> None:
        closed.append(f"{who}: {why}")

    streams.open(Stream(who, "n/host/press-a", "watch", "", "pods", "", close))


def test_a_watch_ends_in_the_turn_in_which_its_right_goes_and_others_live_on(platform: Platform) -> None:
    streams, closed = Streams(platform.index), list[str]()
    platform.bind("ann", "workspace-viewer", "w/host/press")
    platform.bind("bob", "workspace-viewer", "w/host/press")
    for user in ("ann", "bob"):
        assert platform.index.check(user, "n/host/press-a", "watch", "", "pods")
        open_watch(streams, user, closed)
    platform.index.drop_binding("ann-workspace-viewer")
    assert closed == ["ann: the right to watch pods was taken away"]
    assert len(streams) == 1


def test_a_binding_that_changes_and_still_allows_ends_no_watch(platform: Platform) -> None:
    streams, closed = Streams(platform.index), list[str]()
    platform.bind("ann", "workspace-viewer", "w/host/press")
    assert platform.index.check("ann", "n/host/press-a", "watch", "", "pods")
    open_watch(streams, "ann", closed)
    renamed = Binding("ann-workspace-viewer", "workspace-admin", "w/host/press", ("User:ann", "User:bob"))
    platform.index.put_binding(renamed)
    assert closed == []


def test_an_event_that_touches_everybody_ends_watches_in_slices(platform: Platform) -> None:
    index, closed = platform.index, list[str]()
    streams = Streams(index)
    rule = PolicyRule(verbs=("watch",), api_groups=("",), resources=("pods",))
    index.put_role(RoleFacts("all", "namespace", "", (rule,), (), None))
    index.put_binding(Binding("all", "all", "n/host/press-a", ("Group:system:authenticated",)))
    for n in range(1500):
        index.put_user(f"user-{n}", ())
        assert index.check(f"user-{n}", "n/host/press-a", "watch", "", "pods")
        open_watch(streams, f"user-{n}", closed)
    index.drop_role("all")
    assert closed == []
    turns = 1
    while streams.sweep(200):
        turns += 1
    assert len(closed) == 1500
    assert turns == 8
    assert len(streams) == 0


def test_a_stream_that_ended_by_itself_is_forgotten(platform: Platform) -> None:
    streams = Streams(platform.index)
    leave = streams.open(Stream("ann", "p", "watch", "", "pods", "", list[str]().append))
    leave()
    leave()
    assert len(streams) == 0
