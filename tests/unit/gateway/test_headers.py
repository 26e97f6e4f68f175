"""Identity cannot be smuggled in a header (R13; CVE-2021-31999, request smuggling)."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.headers import check_framing, client_address, in_the_name_of, passed_on, sent_as
from edge_sdk.access import Caller
from edge_sdk.problem import Problem


@pytest.mark.parametrize(
    "name",
    [
        "Impersonate-User",
        "impersonate-group",
        "IMPERSONATE-EXTRA-scopes",
        "Impersonate_User",
        "Impersonate-Uid",
        "X-Remote-User",
        "x-remote-extra-a",
        "X_Remote_Group",
        "X-Forwarded-For",
        "X-Forwarded-Client-Cert",
        "Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Upgrade",
        "TE",
        "Connection",
        "Proxy-Authorization",
        "X-Edge-Caller",
        "Forwarded",
    ],
)
def test_headers_about_identity_and_framing_are_not_passed_on(name: str) -> None:
    assert passed_on([(name, "admin"), ("Accept", "application/json")]) == [("Accept", "application/json")]


def test_what_connection_names_is_dropped_before_ours_is_added() -> None:
    kept = passed_on([("Connection", "keep-alive, Impersonate-User, X-Trace"), ("X-Trace", "1"), ("A", "b")])
    assert kept == [("A", "b")]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(max_size=10)), max_size=6))
def test_no_list_of_headers_lets_an_impersonation_through(headers: list[tuple[str, str]]) -> None:
    spelled = [("iMpErSoNaTe-UsEr", "root"), *headers, ("impersonate_group", "system:masters")]
    assert not [
        name for name, _ in passed_on(spelled) if name.lower().replace("_", "-").startswith("imperso")
    ]


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "3"), ("content-length", "4")],
        [("Authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("Host", "a"), ("HOST", "b")],
        [("Host", "a b")],
        [("Host", "evil/path@gateway")],
        [("Host", "a,b")],
        [("Host", "gateway:port")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "chunked, chunked")],
        [("Transfer-Encoding", "identity")],
    ],
)
def test_a_request_with_two_readings_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem):
        check_framing(headers)


@pytest.mark.parametrize(
    "host", ["", "gateway", "edge_1.example.com:8443", "10.0.0.1:9090", "[::1]:9090", "a."]
)
def test_a_plain_host_and_chunks_are_understood(host: str) -> None:
    assert check_framing([("Host", host), ("Transfer-Encoding", " Chunked ")]) == {
        "host",
        "transfer-encoding",
    }


def test_http_1_0_knows_no_chunks() -> None:
    """RFC 9112 §6.1: a proxy that does not know them either would see another end of the request."""
    with pytest.raises(Problem, match=r"HTTP/1\.0"):
        check_framing([("Transfer-Encoding", "chunked")], knows_chunks=False)


def test_only_the_gateway_makes_somebody_an_admin() -> None:
    caller = Caller("ada", groups=("ops", "system:masters", "edge:platform-admins"))
    assert in_the_name_of(caller, is_admin=False) == [
        ("Impersonate-User", "ada"),
        ("Impersonate-Group", "edge:group:ops"),
    ]
    assert ("Impersonate-Group", "edge:platform-admins") in in_the_name_of(caller, is_admin=True)


def test_S6_only_the_gateway_sends_somebody_in_their_scopes_name() -> None:
    caller = Caller("ada", groups=("edge:scope-administrators",))
    assert in_the_name_of(caller, is_admin=False) == [("Impersonate-User", "ada")]
    told = in_the_name_of(caller, is_admin=False, for_scope=True)
    assert told[1:] == [("Impersonate-Group", "edge:scope-administrators")]
    account = Caller("system:serviceaccount:press-a:robot")
    assert sent_as(account, is_admin=False, member=False)[1:] == []
    assert sent_as(account, is_admin=False, member=False, for_scope=True)[1:] == [
        ("Impersonate-Group", "system:serviceaccounts"),
        ("Impersonate-Group", "system:serviceaccounts:press-a"),
        ("Impersonate-Group", "edge:scope-administrators"),
    ]


def test_S6_a_group_of_the_platform_is_no_group_of_the_clusters_own_rbac() -> None:
    caller = Caller("eve", groups=("kubeadm:cluster-admins",))
    assert in_the_name_of(caller, is_admin=False)[1:] == [
        ("Impersonate-Group", "edge:group:kubeadm:cluster-admins")
    ]


@pytest.mark.parametrize("name", ["", "system:admin", "system:serviceaccount:kube-system:x"])
def test_a_user_of_the_system_is_never_sent_upstream(name: str) -> None:
    with pytest.raises(ValueError, match="never"):
        in_the_name_of(Caller(name), is_admin=True)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),  # anybody can write the header
        ("10.0.0.5", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.5", "6.6.6.6, 1.1.1.1, 10.0.0.7", "1.1.1.1"),  # what came before it is the client's own word
        ("10.0.0.5", "", "10.0.0.5"),
        ("10.0.0.5", "nonsense", "10.0.0.5"),
        ("unknown", "1.1.1.1", "unknown"),
    ],
)
def test_only_trusted_proxies_tell_where_it_came_from(peer: str, forwarded: str, expected: str) -> None:
    assert client_address(peer, forwarded, (ip_network("10.0.0.0/8"),)) == expected
