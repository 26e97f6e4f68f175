"""What a SubjectAccessReview is answered from the index (I10; design §3, §7.1)."""

import random
from dataclasses import dataclass

import msgspec
import pytest
from msgspec import structs

from edge.apiserver.paths import Resource, Target, action_of
from edge.iam.access import IndexAccess
from edge.iam.accessreview import (
    SESSION_EXTRA,
    PathAttributes,
    ResourceAttributes,
    Review,
    ReviewSpec,
    Verdict,
    caller_of,
    check,
    review,
    scope_of,
)
from edge.iam.builtin import everything
from edge.iam.feed import Feed
from edge.iam.freshness import Freshness
from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.types import PolicyRule
from edge_kube.core import Namespace, Node
from edge_kube.meta import ObjectMeta

PODS = ResourceAttributes(verb="list", resource="pods", namespace="press-a")
SIGNED_IN = ("system:authenticated",)


def rule(verbs: str, group: str, resource: str) -> PolicyRule:
    return PolicyRule(verbs=tuple(verbs.split()), api_groups=(group,), resources=(resource,))


@dataclass
class Platform:
    index: Index
    disabled: frozenset[str] = frozenset({"dan"})

    def bind(self, subject: str, role: str, scope: str) -> None:
        self.index.put_binding(Binding(f"{subject}-{role}", role, scope, (subject,)))

    def role(self, name: str, kind: str, *rules: PolicyRule) -> None:
        self.index.put_role(RoleFacts(name, kind, "", rules, (), None))

    def ask(
        self,
        user: str,
        about: ResourceAttributes | PathAttributes = PODS,
        groups: tuple[str, ...] = SIGNED_IN,
        extra: dict[str, tuple[str, ...]] | None = None,
    ) -> Verdict:
        spec = ReviewSpec(user=user, groups=groups, extra=extra or {})
        if isinstance(about, PathAttributes):
            spec.non_resource_attributes = about
        else:
            spec.resource_attributes = about
        return review(self.index, caller_of(self.index, spec, self.disabled.__contains__), spec)


@pytest.fixture
def platform() -> Platform:
    index = Index()
    feed = Feed(index)
    for one in everything():
        feed.changed(None, one)
    feed.scope_changed("workspace", ObjectMeta(name="press"))
    feed.scope_changed("workspace", ObjectMeta(name="far", labels={"scope.theriseunion.io/cluster": "plant"}))
    labels = {"theriseunion.io/workspace": "press"}
    feed.changed(None, Namespace(metadata=ObjectMeta(name="press-a", labels=labels)))
    feed.changed(None, Node(metadata=ObjectMeta(name="n1")))
    index.put_user("ann", ("red",))
    index.put_user("bob", ())
    return Platform(index)


def test_an_allow_names_the_binding_the_role_and_the_scope(platform: Platform) -> None:
    platform.bind("User:ann", "workspace-viewer", "w/host/press")
    assert platform.ask("ann") == Verdict(
        True, 'IAMRoleBinding "User:ann-workspace-viewer" gives IAMRole "workspace-viewer" at workspace/press'
    )
    assert platform.ask("bob") == (False, "no IAMRoleBinding allows it at namespace/press-a or above")


def test_groups_count_when_the_api_server_vouches_for_them(platform: Platform) -> None:
    """A certificate with the name of a user does not bring that user's groups (§7.1)."""
    platform.bind("Group:red", "workspace-viewer", "w/host/press")
    assert platform.ask("bob", groups=("red",)).allowed
    assert platform.ask("somebody-elses", groups=("red", "system:authenticated")).allowed
    assert not platform.ask("ann").allowed
    assert platform.ask("ann", extra={SESSION_EXTRA: ("1",)}).allowed, "a token of ours: the user is ours"
    assert not platform.ask("bob", extra={SESSION_EXTRA: ("1",)}).allowed


def test_a_name_counts_only_where_the_platform_knows_it(platform: Platform) -> None:
    for name in ("ann", "gone", "dan"):
        platform.bind(f"User:{name}", "workspace-viewer", "w/host/press")
    assert platform.ask("ann").allowed
    assert not platform.ask("gone").allowed, "deleted, with its binding and a certificate left"
    platform.bind("Group:red", "workspace-viewer", "w/host/press")
    assert not platform.ask("dan", groups=("red",)).allowed, "disabled: not by a group either"


def test_service_accounts_have_what_their_name_and_groups_are_bound_to(platform: Platform) -> None:
    robot = "system:serviceaccount:tools:robot"
    groups = ("system:serviceaccounts", "system:serviceaccounts:tools", "system:authenticated")
    assert not platform.ask(robot, groups=groups).allowed
    platform.bind("Group:system:serviceaccounts:tools", "workspace-viewer", "w/host/press")
    assert platform.ask(robot, groups=groups).allowed
    platform.index.drop_binding("Group:system:serviceaccounts:tools-workspace-viewer")
    platform.bind(f"User:{robot}", "workspace-viewer", "w/host/press")
    assert platform.ask(robot, groups=groups).allowed
    assert not platform.ask(f"{robot}2", groups=groups).allowed


def test_paths_are_asked_at_the_platform(platform: Platform) -> None:
    platform.role("logs", "platform", PolicyRule(verbs=("get",), non_resource_urls=("/logs/*",)))
    platform.bind("User:ann", "logs", "p")
    verdict = platform.ask("ann", PathAttributes("get", "/logs/kubelet"))
    assert verdict == (True, 'IAMRoleBinding "User:ann-logs" gives IAMRole "logs" at platform')
    assert not platform.ask("ann", PathAttributes("post", "/logs/kubelet")).allowed
    assert not platform.ask("bob", PathAttributes("get", "/logs/kubelet")).allowed


def test_what_everybody_may_says_so(platform: Platform) -> None:
    platform.role("anonymous", "platform", PolicyRule(verbs=("get",), non_resource_urls=("/hello",)))
    verdict = platform.ask("system:anonymous", PathAttributes("get", "/hello"), ("system:unauthenticated",))
    assert verdict == (True, 'IAMRole "anonymous" allows it to everyone')


@pytest.mark.parametrize("part", ["exec", "attach", "portforward", "proxy"])
def test_get_is_not_enough_to_run_a_command(platform: Platform, part: str) -> None:
    """S4, for API servers before 1.35 as well."""
    platform.role("reader", "namespace", rule("get", "", f"pods/{part}"))
    platform.bind("User:ann", "reader", "n/host/press-a")
    about = ResourceAttributes("get", "", "pods", part, "press-a", "p")
    assert not platform.ask("ann", about).allowed
    platform.role("runner", "namespace", rule("create", "", f"pods/{part}"))
    platform.bind("User:ann", "runner", "n/host/press-a")
    assert platform.ask("ann", about).allowed
    assert platform.ask("ann", ResourceAttributes("create", "", "pods", part, "press-a", "p")).allowed


def test_every_verb_is_held_only_through_every_verb(platform: Platform) -> None:
    platform.role("most", "namespace", rule("get list delete", "", "pods"))
    platform.bind("User:ann", "most", "n/host/press-a")
    everything_on_pods = ResourceAttributes("*", "", "pods", "", "press-a")
    assert not platform.ask("ann", everything_on_pods).allowed
    platform.role("all", "namespace", rule("*", "", "pods"))
    platform.bind("User:ann", "all", "n/host/press-a")
    assert platform.ask("ann", everything_on_pods).allowed
    assert not platform.ask("ann", ResourceAttributes("*", "*", "*", "", "press-a")).allowed


def test_the_password_of_another_is_an_update_of_that_user(platform: Platform) -> None:
    iam = "iam.theriseunion.io"
    platform.role("own", "platform", rule("update", iam, "users/password"))
    platform.bind("User:ann", "own", "p")
    assert platform.ask("ann", ResourceAttributes("update", iam, "users", "password", "", "ann")).allowed
    assert not platform.ask("ann", ResourceAttributes("update", iam, "users", "password", "", "bob")).allowed


def test_a_question_of_neither_kind_or_both_is_refused() -> None:
    for spec in (
        ReviewSpec(user="ann"),
        ReviewSpec(resource_attributes=PODS, non_resource_attributes=PathAttributes("get", "/"), user="ann"),
    ):
        with pytest.raises(ValueError, match="resourceAttributes or nonResourceAttributes"):
            check(Review(spec))
    with pytest.raises(ValueError, match="a TokenReview of"):
        check(Review(ReviewSpec(resource_attributes=PODS), kind="TokenReview"))


def test_the_scope_is_the_one_that_the_gateway_asks_at(platform: Platform) -> None:
    """I10: one question has one answer, whichever door it comes through."""
    rnd = random.Random(10)
    access = IndexAccess(platform.index, Freshness(lambda: 0.0))
    groups = ("", "apps", "scope.theriseunion.io", "iam.theriseunion.io", "metrics.k8s.io", "theriseunion.io")
    resources = ("pods", "nodes", "namespaces", "workspaces", "nodegroups", "clusters", "users")
    for _ in range(5000):
        about = ResourceAttributes(
            "get",
            rnd.choice(groups),
            rnd.choice(resources),
            rnd.choice(("", "", "proxy", "status", "log")),
            rnd.choice(("", "press-a", "nowhere")),
            rnd.choice(("", "press", "far", "host", "n1", "x/y")),
        )
        action = action_of(
            "GET",
            Resource(about.group, "v1", about.resource, about.namespace, about.name, about.subresource),
            Target((), ()),
        )
        assert scope_of(platform.index, about) == access.scope_of(action.scope), about


def test_it_reads_what_an_api_server_sends() -> None:
    body = b"""{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},
    "spec":{"resourceAttributes":{"namespace":"press-a","verb":"list","version":"v1","resource":"pods",
    "fieldSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]}]}},"user":"ann",
    "groups":["red","system:authenticated"],"extra":{"x":["y"]},"uid":"1"},"status":{"allowed":false}}"""
    spec = msgspec.json.decode(body, type=Review).spec
    assert (spec.user, spec.groups) == ("ann", ("red", "system:authenticated"))
    assert spec.resource_attributes == structs.replace(PODS, version="v1")
