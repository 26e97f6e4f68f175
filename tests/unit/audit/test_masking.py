"""No secret enters the trail, in clear or as a hash that could be guessed back (S5, O6)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.trails import intent

from edge.audit.events import kubernetes_event
from edge.audit.masking import mask, masked_body
from edge.audit.query import Entry
from edge.audit.record import Asked, canonical

BODIES: dict[str, tuple[str, Any]] = {
    "a Secret": (
        "secrets",
        {"kind": "Secret", "data": {"a": "hunter2"}, "stringData": {"b": "hunter2"}},
    ),
    "a patch of a Secret": ("secrets", {"data": {"a": "hunter2"}}),
    "a JSON patch of a Secret": ("secrets", [{"op": "add", "path": "/data/a", "value": "hunter2"}]),
    "a list with a Secret": ("lists", {"items": [{"kind": "Secret", "data": {"a": "hunter2"}}]}),
    "a new password": ("users", {"newPassword": "hunter2", "currentPassword": "hunter2"}),
    "a hash": ("users", {"spec": {"encryptedPassword": "hunter2"}}),
    "a cluster": ("clusters", {"spec": {"connection": {"kubeconfig": "hunter2", "token": "hunter2"}}}),
    "an environment": ("pods", {"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]}),
    "what kubectl applied last": (
        "users",
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}}},
    ),
    "a JSON patch of a password": (
        "users",
        [{"op": "replace", "path": "/spec/encryptedPassword", "value": "hunter2"}],
    ),
    "a JSON patch of a variable by its place": (
        "deployments",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/env/2/value", "value": "hunter2"}],
    ),
    "a JSON patch of what kubectl applied last": (
        "secrets",
        [
            {
                "op": "replace",
                "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
                "value": "hunter2",
            }
        ],
    ),
    "a JSON patch with a variable": (
        "deployments",
        [{"op": "add", "path": "/spec/env/-", "value": {"name": "TOKEN", "value": "hunter2"}}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_secrets_are_taken_out_before_hashing(name: str) -> None:
    resource, body = BODIES[name]
    other = json.loads(json.dumps(body).replace("hunter2", "letmein"))
    digest, paths, masked = masked_body(resource, json.dumps(body).encode())
    assert digest
    assert (digest, paths) == masked_body(resource, json.dumps(other).encode())[:2]
    assert "hunter2" not in json.dumps([digest, paths, masked])


def test_what_is_no_secret_changes_the_hash_and_is_named_by_path() -> None:
    one = masked_body("deployments", b'{"spec": {"replicas": 3, "template": {"tokenSecretName": "x"}}}')
    two = masked_body("deployments", b'{"spec": {"replicas": 4, "template": {"tokenSecretName": "x"}}}')
    assert one[0] != two[0]
    assert one[1] == ("spec.replicas", "spec.template.tokenSecretName")


def test_a_json_patch_is_named_by_the_paths_that_it_leads_to() -> None:
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": "1"},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b", "c": "d"}},
        {"op": "remove", "path": "/metadata/annotations/example.com~1old"},
    ]
    _, paths, _ = masked_body("deployments", json.dumps(patch).encode())
    assert paths == (
        "spec.replicas",
        "metadata.labels.a",
        "metadata.labels.c",
        "metadata.annotations.example.com/old",
    )


@pytest.mark.parametrize("body", [b"", None, b"k8s\x00protobuf hunter2", b"[" * 100_000, b'"hunter2"'])
def test_a_body_that_cannot_be_read_is_not_hashed(body: bytes | None) -> None:
    assert masked_body("secrets", body) == ("", (), None)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(_json)
def test_nothing_of_a_secrets_data_survives(value: Any) -> None:
    masked = mask({"kind": "Secret", "data": {"key": value, "other": "hunter2hunter2"}})
    assert "hunter2hunter2" not in json.dumps(masked)
    assert masked["data"].keys() == {"key", "other"}


@given(_json)
def test_masking_twice_changes_nothing_more(value: Any) -> None:
    assert mask(mask(value)) == mask(value)


def test_the_canonical_form_has_sorted_keys_and_no_blanks() -> None:
    body = canonical(intent())
    assert json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode() == body


def test_an_entry_becomes_a_kubernetes_audit_event() -> None:
    record = intent("web")
    entry = Entry(
        id=record.id, time=record.time, ended=record.time + 5, phase="outcome", result="success", code=201,
        actor=record.actor, req=record.req, scope=record.scope, rv="77", chain="gateway-1", seq=3,
    )  # fmt: skip
    event = kubernetes_event(entry)
    assert (event["kind"], event["apiVersion"], event["level"]) == ("Event", "audit.k8s.io/v1", "Metadata")
    assert event["requestURI"] == "/apis/apps/v1/namespaces/press/deployments"
    assert event["objectRef"] == {
        "resource": "deployments", "namespace": "press", "name": "web", "apiGroup": "apps",
        "apiVersion": "v1", "resourceVersion": "77",
    }  # fmt: skip
    assert event["user"] == {"username": "ada", "uid": "", "groups": ["ops"]}
    assert (event["stage"], event["responseStatus"]["code"]) == ("ResponseComplete", 201)
    assert event["requestReceivedTimestamp"] == "2023-11-14T22:13:20.000000Z"
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"


@pytest.mark.parametrize(
    ("asked", "uri"),
    [
        (
            Asked(verb="delete", version="v1", resource="pods", namespace="press", name="web", dry_run=True),
            "/api/v1/namespaces/press/pods/web?dryRun=All",
        ),
        (
            Asked(verb="create", version="v1", resource="pods", sub="exec", namespace="press", name="web"),
            "/api/v1/namespaces/press/pods/web/exec",
        ),
        (Asked(verb="sign-in", path="/oauth/token"), "/oauth/token"),
        (
            Asked(
                verb="patch", group="apps", version="v1", resource="deployments", cluster="berlin", name="a"
            ),
            "/clusters/berlin/apis/apps/v1/deployments/a",
        ),
    ],
)
def test_an_event_has_the_address_that_was_asked(asked: Asked, uri: str) -> None:
    entry = Entry(id="1", time=1, phase="intent", result="open", req=asked)
    assert kubernetes_event(entry)["requestURI"] == uri
