"""What is kept of a kubeconfig, what may be asked for, and the file (I3)."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.iam.kubeconfigs import (
    SECRET_PREFIX,
    SECRET_TYPE,
    Entrance,
    Issued,
    Wanted,
    kubeconfig,
    lifetime_s,
    read_record,
    read_wanted,
    record_of,
)
from edge.iam.tokens import Claims
from edge_kube.core import Secret
from edge_kube.meta import ObjectMeta
from edge_sdk.problem import Invalid, Problem

ID = "0123456789abcdef" * 2


def issued(cluster: str = "host", name: str = "laptop", user: str = "ada") -> Issued:
    return Issued(Claims(user, "u1", "mark", ID, 1_800_000_000.0, 1_800_003_600.0, cluster), name)


def secret(manifest: dict[str, Any], **changed: Any) -> Secret:
    fields = {"type": manifest["type"], "data": manifest["data"], **changed}
    name = fields.pop("name", manifest["metadata"]["name"])
    return Secret(metadata=ObjectMeta(name=name, namespace="edge-system"), **fields)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.from_regex(r"[a-z0-9-]{1,50}", fullmatch=True), TEXT.filter(bool))
def test_a_record_says_what_was_issued(name: str, cluster: str, user: str) -> None:
    one = issued(cluster, name, user)
    assert read_record(secret(record_of(one, "edge-system"))) == one


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "Opaque"},
        {"name": ID},
        {"name": "edge-kubeconfig-short"},
        {"data": {}},
        {"data": {"user": "???"}},
        {"data": {**record_of(issued(), "x")["data"], "expires": base64.b64encode(b"never").decode()}},
    ],
)
def test_what_is_no_record_is_none(changed: dict[str, Any]) -> None:
    assert read_record(secret(record_of(issued(), "edge-system"), **changed)) is None


def test_a_record_goes_with_its_user_and_holds_nothing_that_lets_in() -> None:
    manifest = record_of(issued(), "edge-system")
    assert (manifest["type"], manifest["metadata"]["name"]) == (SECRET_TYPE, SECRET_PREFIX + ID)
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("User", "ada", "u1")
    assert "token" not in str(manifest).lower().replace("passwordmark", "")


@pytest.mark.parametrize(
    ("cluster", "address"),
    [
        ("host", "https://edge.example.com"),
        ("east", "https://edge.example.com/clusters/east"),
    ],
)
def test_the_file_points_at_the_gateway(cluster: str, address: str) -> None:
    file = kubeconfig(
        issued(cluster), "t.o.k", Entrance("https://edge.example.com/", b"PEM", "edge-apiserver")
    )
    assert file["clusters"][0]["cluster"] == {
        "server": address,
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "tls-server-name": "edge-apiserver",
    }
    assert file["users"][0]["user"] == {"token": "t.o.k"}
    context = file["contexts"][0]
    assert file["current-context"] == context["name"] == f"ada@edge-{cluster}"
    assert context["context"]["extensions"][0]["extension"]["expires"] == "2027-01-15T09:00:00Z"


def test_a_lifetime_is_the_one_asked_for_or_the_usual_one_and_never_too_long() -> None:
    limits = {"default_s": 86_400.0, "max_s": 30 * 86_400.0}
    assert lifetime_s(Wanted(), **limits) == 86_400
    assert lifetime_s(Wanted(ttl="1h30m"), **limits) == 5400
    assert lifetime_s(Wanted(ttl=600), **limits) == 600
    for ttl in ("720h1s", "0s", "59s", "-1h", "1y"):
        with pytest.raises(Invalid, match="from 1m to 30d"):
            lifetime_s(Wanted(ttl=ttl), **limits)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "object"),
        (b'{"ttl": {}}', "ttl"),
        (b'{"user": "admin"}', "user"),
        (b'{"server": "https://h/?q"}', "https://HOST"),
        (b'{"server": "https://h\\n/x"}', "https://HOST"),
        (b'{"server": "https://"}', "https://HOST"),
    ],
)
def test_a_body_that_cannot_be_is_named(body: bytes, says: str) -> None:
    with pytest.raises(Problem, match=says):
        read_wanted(body)


def test_without_a_body_it_is_the_host_for_the_usual_time() -> None:
    assert (read_wanted(None), read_wanted(b"")) == (Wanted(), Wanted())
