"""What a path is about, and which paths are refused (G1, G11, G13; CVE-2019-11247 class)."""

import contextlib
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.paths import (
    Resource,
    action_of,
    full_group,
    is_stream,
    native_segments,
    read_resource,
    read_target,
)
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
