"""What a path is about, and which paths are refused (G1, G11, G13; CVE-2019-11247 class)."""

import contextlib
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.paths import (
    Resource,
    action_of,
    also_needed,
    begins_at_once,
    full_group,
    is_stream,
    native_segments,
    read_resource,
    read_target,
)
from edge_sdk.access import Action
from edge_sdk.problem import Missing, Problem


def action(method: str, path: str) -> tuple[str, str, str, str, str, str]:
    target = read_target(path)
    resource = read_resource(target.segments[1:], core=target.segments[0] == "api")
    assert resource is not None
    found = action_of(method, resource, target)
    return found.verb, found.group, found.resource, found.subresource, found.namespace, found.name


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/namespaces", ("list", "", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "", "", "a")),
        ("PUT", "/api/v1/namespaces/a/status", ("update", "", "namespaces", "status", "", "a")),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods?watch=1", ("watch", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods?watch=false", ("list", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods?watch=0&watch=1", ("list", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods?watch=1&watch=0", ("watch", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods/p?watch=1", ("get", "", "pods", "", "a", "p")),
        ("GET", "/api/v1/watch/namespaces/a/pods/p", ("watch", "", "pods", "", "a", "p")),
        ("GET", "/api/v1/watch/namespaces/a/pods", ("watch", "", "pods", "", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods/p/log?follow=true", ("get", "", "pods", "log", "a", "p")),
        ("GET", "/api/v1/namespaces/a/pods/p/exec?command=sh", ("create", "", "pods", "exec", "a", "p")),
        ("POST", "/api/v1/namespaces/a/pods/p/portforward", ("create", "", "pods", "portforward", "a", "p")),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            ("deletecollection", "apps", "deployments", "", "a", ""),
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            ("patch", "apps", "deployments", "scale", "a", "d"),
        ),
        (
            "HEAD",
            "/apis/iam.theriseunion.io/v1alpha1/users/u",
            ("get", "iam.theriseunion.io", "users", "", "", "u"),
        ),
    ],
)
def test_attributes_are_those_of_kubernetes(method: str, path: str, expected: tuple[str, ...]) -> None:
    assert action(method, path) == expected


def asked(method: str, path: str, cluster: str = "") -> Action:
    target = read_target(path)
    resource = read_resource(target.segments[1:], core=target.segments[0] == "api")
    assert resource is not None
    return action_of(method, resource, target, cluster)


@pytest.mark.parametrize(
    ("path", "cluster", "scope"),
    [
        ("/api/v1/namespaces/a/pods", "", "namespace/a"),
        ("/api/v1/namespaces/a/pods", "east", "cluster/east/namespace/a"),
        ("/api/v1/namespaces/a", "east", "cluster/east/namespace/a"),
        ("/api/v1/nodes/n", "", "node/n"),
        ("/api/v1/nodes/n", "east", "cluster/east/node/n"),
        ("/apis/metrics.k8s.io/v1beta1/nodes/n", "", "node/n"),
        ("/api/v1/nodes/n/proxy/exec/a/p/c", "", "cluster/host"),
        ("/api/v1/nodes/n/proxy/exec/a/p/c", "east", "cluster/east"),
        ("/api/v1/nodes", "", "cluster/host"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles/r", "", "cluster/host"),
        ("/apis/scope.theriseunion.io/v1alpha1/workspaces/w", "", "workspace/w"),
        ("/apis/scope.theriseunion.io/v1alpha1/workspaces/w", "east", "cluster/east"),
        ("/apis/scope.theriseunion.io/v1alpha1/workspaces", "", "platform"),
        ("/apis/cluster.x-k8s.io/v1/clusters/c", "", "cluster/host"),
    ],
)
def test_the_scope_is_the_narrowest_that_holds_the_object_and_names_its_cluster(
    path: str, cluster: str, scope: str
) -> None:
    """Same names in another cluster are something else (S5); nodes/proxy runs commands in any pod (S4)."""
    assert asked("GET", path, cluster).scope == scope


@pytest.mark.parametrize("sub", ["exec", "attach", "portforward", "proxy"])
def test_a_shell_by_get_needs_get_beside_create(sub: str) -> None:
    path = f"/api/v1/namespaces/a/pods/p/{sub}"
    first = asked("GET", path)
    assert first.verb == "create"
    second = also_needed("GET", first)
    assert second is not None
    assert (second.verb, second.subresource, second.scope) == ("get", sub, "namespace/a")
    assert also_needed("POST", asked("POST", path)) is None
    assert also_needed("GET", asked("GET", "/api/v1/namespaces/a/pods/p/log")) is None


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/pods",
        "/api//v1/pods",
        "/api/v1/../v1/secrets",
        "/api/v1/%2e%2e/secrets",
        "/api/v1/a%2fb",
        "/api/v1/a%5cb",
        "/api/v1/a%00b",
        "/api/v1/a%252fb",
        "/api/v1/a%0ab",
        "/api/v1/..;/secrets",
        "/api/v1/%ff",
        "api/v1/pods",
        "http://other/api/v1/pods",
        "/api/v1/./pods",
        "/api/v1/pods?%ff=1",
        "/api/v1/a%7fb",
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(Problem) as refused:
        read_target(path)
    assert refused.value.status == 400


def test_what_is_forwarded_is_rebuilt_from_what_was_checked() -> None:
    target = read_target("/api/v1/namespaces/a/pods/x%20y?labelSelector=a%3Db,c&command=ls&command=-l#frag")
    assert target.segments[-1] == "x y"
    assert target.rebuilt() == (
        "/api/v1/namespaces/a/pods/x%20y?labelSelector=a%3Db%2Cc&command=ls&command=-l"
    )


@given(
    st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6),
    st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5)), max_size=4),
)
def test_a_rebuilt_path_reads_back_as_the_same_target(names: list[str], query: list[tuple[str, str]]) -> None:
    raw = "/" + "/".join(quote(name, safe="") for name in names)
    try:
        first = read_target(raw + (f"?{urlencode(query)}" if query else ""))
    except (Problem, UnicodeEncodeError):
        return
    assert read_target(first.rebuilt()) == first


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_a_problem(raw: str) -> None:
    with contextlib.suppress(Problem):
        assert read_target("/" + raw).rebuilt().startswith("/")


@pytest.mark.parametrize("base", ["/kapis", "/oapis", "/kapis/oapis"])
def test_a_base_address_that_ends_in_kapis_or_oapis_reaches_the_same_routes(base: str) -> None:
    assert read_target(f"{base}/oauth/token").segments == ("oauth", "token")
    assert read_target(f"{base}/.well-known/x").segments == (".well-known", "x")
    assert read_target(f"{base}/apis/apps/v1/deployments").segments == ("apis", "apps", "v1", "deployments")
    users = read_target(f"{base}/oapis/iam.theriseunion.io/v1alpha1/users")
    assert users.segments == ("oapis", "iam.theriseunion.io", "v1alpha1", "users")


def test_short_groups_are_spelled_out() -> None:
    clusters = full_group(Resource("tenant", "v1alpha1", "clusters"))
    assert (clusters.group, clusters.version) == ("scope.theriseunion.io", "v1alpha1")
    namespaces = full_group(Resource("tenant.theriseunion.io", "v1alpha1", "namespaces"))
    assert native_segments(namespaces) == ("api", "v1", "namespaces")
    assert full_group(Resource("iam", "v1alpha1", "users")).group == "iam.theriseunion.io"
    with pytest.raises(Missing, match="clusters, namespaces, nodegroups, nodes, workspaces"):
        full_group(Resource("tenant", "v1alpha1", "secrets"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods?watch=true", True),
        ("/api/v1/watch/pods", True),
        ("/api/v1/pods", False),
        ("/api/v1/namespaces/a/pods/p/log", True),
        ("/api/v1/namespaces/a/pods/p/exec", True),
        ("/api/v1/namespaces/watch", False),
        ("/api/v1/namespaces/a/pods/exec", False),
    ],
)
def test_streams_are_told_by_parsed_attributes(path: str, expected: bool) -> None:
    target = read_target(path)
    assert is_stream(read_resource(target.segments[1:], core=True), target) is expected


@pytest.mark.parametrize(
    ("path", "at_once"),
    [
        ("/api/v1/namespaces/a/pods?watch=1", True),
        ("/api/v1/namespaces/a/pods/p/log", True),
        ("/api/v1/namespaces/a/pods/p/log?follow=false", True),
        ("/api/v1/namespaces/a/pods/p/log?follow=true", False),
        ("/api/v1/namespaces/a/services/s/proxy/events", False),
    ],
)
def test_only_streams_that_begin_at_once_are_given_up_when_they_do_not(path: str, at_once: bool) -> None:
    target = read_target(path)
    assert begins_at_once(read_resource(target.segments[1:], core=True), target) is at_once


def test_a_long_command_is_one_request() -> None:
    words = [("command", f"w{number}") for number in range(1500)]
    path = f"/api/v1/namespaces/a/pods/p/exec?{urlencode(words)}"
    assert read_target(path).all("command") == [word for _, word in words]
