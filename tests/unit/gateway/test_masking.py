"""Secret fields never leave the gateway, in whatever shape the API server wraps them (I14, X14)."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.apiserver.masking import LAST_APPLIED, LineMask, mask_document

IAM, SCOPE = "iam.theriseunion.io", "scope.theriseunion.io"
SECRET = "$2b$10$topsecret"


def user() -> dict[str, object]:
    return {
        "kind": "User",
        "metadata": {
            "name": "ada",
            "managedFields": [{"f:encryptedPassword": {}}],
            "annotations": {
                LAST_APPLIED: f'{{"spec":{{"encryptedPassword":"{SECRET}"}}}}',
                "colour": "blue",
            },
        },
        "spec": {"email": "ada@example.com", "encryptedPassword": SECRET},
    }


SHAPES = {
    "object": user(),
    "list": {"kind": "UserList", "items": [user(), user()]},
    "table": {"kind": "Table", "rows": [{"cells": ["ada"], "object": user()}]},
    "event": {"type": "ADDED", "object": user()},
    "event of a table": {"type": "ADDED", "object": {"kind": "Table", "rows": [{"object": user()}]}},
}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_no_shape_of_an_answer_shows_a_password_hash(shape: str) -> None:
    masked = mask_document(IAM, "users", json.dumps(SHAPES[shape]).encode())
    assert SECRET.encode() not in masked
    assert b"ada" in masked


def test_the_rest_of_the_object_stays() -> None:
    masked = json.loads(mask_document(IAM, "users", json.dumps(user()).encode()))
    assert masked["spec"] == {"email": "ada@example.com"}
    assert masked["metadata"]["annotations"] == {"colour": "blue", LAST_APPLIED: '{"spec":{}}'}


def test_what_kubectl_noted_stays_as_it_is_when_it_holds_no_secret() -> None:
    """P4: kubectl compares it byte for byte with what it applies now."""
    noted = '{"apiVersion":"v1","spec":{"email":"a\\u003cb"},"z":1}\n'
    found = {"metadata": {"annotations": {LAST_APPLIED: noted}}, "spec": {}}
    masked = json.loads(mask_document(IAM, "users", json.dumps(found).encode()))
    assert masked["metadata"]["annotations"] == {LAST_APPLIED: noted}


@pytest.mark.parametrize("noted", ["", "no json " + SECRET, "[]", 5, None, "[" * 100_000, '{"a":1e999}'])
def test_a_note_that_is_no_object_is_dropped(noted: object) -> None:
    found = {"metadata": {"annotations": {LAST_APPLIED: noted}}, "spec": {}}
    masked = json.loads(mask_document(IAM, "users", json.dumps(found).encode()))
    assert masked["metadata"]["annotations"] == {}


def test_a_clusters_kubeconfig_and_token_are_taken_out() -> None:
    cluster = {
        "metadata": {"name": "c"},
        "spec": {"connection": {"type": "direct", "kubeconfig": "a", "token": "b"}},
    }
    masked = json.loads(mask_document(SCOPE, "clusters", json.dumps(cluster).encode()))
    assert masked["spec"] == {"connection": {"type": "direct"}}


def test_what_is_no_json_is_not_passed_on() -> None:
    with pytest.raises(msgspec.DecodeError):
        mask_document(IAM, "users", b"k8s\x00protobuf " + SECRET.encode())


@given(st.lists(st.integers(min_value=1, max_value=400), max_size=20))
def test_a_watch_is_masked_however_the_network_cuts_it(cuts: list[int]) -> None:
    stream = b"".join(json.dumps({"type": "ADDED", "object": user()}).encode() + b"\n" for _ in range(3))
    mask, out, at = LineMask(IAM, "users"), b"", 0
    for size in [*cuts, len(stream)]:
        out += mask.feed(stream[at : at + size])
        at += size
    assert SECRET.encode() not in out
    assert out.count(b"\n") == 3


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["items", "rows", "object", "spec", "metadata", "type", "x"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_can_be_masked(document: object) -> None:
    json.loads(mask_document(IAM, "users", json.dumps(document).encode()))
