"""Questions about oneself, as they are read, and as the rules behind them are listed (I4, I8)."""

import msgspec
import pytest

from edge.iam.accessreview import PathAttributes, ResourceAttributes
from edge.iam.index import Binding, Index
from edge.iam.rolebook import RoleFacts
from edge.iam.selfreview import (
    PathRule,
    ResourceRule,
    path_rules,
    read_access,
    read_namespace,
    resource_rules,
)
from edge.iam.types import PolicyRule

VERSION = "authorization.k8s.io/v1"
ABOUT_PODS = ResourceAttributes(
    verb="get", group="apps", resource="pods", subresource="log", namespace="press", name="p", version="v1"
)


def message(*fields: tuple[int, bytes]) -> bytes:
    """Of protobuf, with fields that have a length."""
    return b"".join(bytes([number << 3 | 2, len(content)]) + content for number, content in fields)


def as_protobuf(spec: bytes) -> bytes:
    type_meta = message((1, VERSION.encode()), (2, b"SelfSubjectAccessReview"))
    return b"k8s\0" + message((1, type_meta), (2, message((1, b""), (2, spec))))


def test_a_question_reads_the_same_in_json_and_in_protobuf() -> None:
    spec = {"resourceAttributes": msgspec.to_builtins(ABOUT_PODS)}
    told = {"apiVersion": VERSION, "kind": "SelfSubjectAccessReview", "spec": spec}
    texts = (b"press", b"get", b"apps", b"v1", b"pods", b"log", b"p")
    body = as_protobuf(message((1, message(*enumerate(texts, 1)))))
    for found in (
        read_access(msgspec.json.encode(told), protobuf=False),
        read_access(body, protobuf=True),
    ):
        assert (found.resource_attributes, found.non_resource_attributes) == (ABOUT_PODS, None)
    path = as_protobuf(message((2, message((1, b"/metrics"), (2, b"get")))))
    assert read_access(path, protobuf=True).non_resource_attributes == PathAttributes("get", "/metrics")
    assert read_namespace(as_protobuf(message((1, b"press"))), protobuf=True) == "press"


@pytest.mark.parametrize(
    ("body", "protobuf", "why"),
    [
        (b'{"spec":{}}', False, "not both"),
        (b'{"spec":{"resourceAttributes":{},"nonResourceAttributes":{}}}', False, "not both"),
        (b'{"kind":"Pod","spec":{"resourceAttributes":{}}}', False, "it is a Pod"),
        (b'{"spec":{"resourceAttributes":{"verb":1}}}', False, "verb"),
        (b"", False, "truncated"),
        (b"k8s\0\x12\xff", True, "breaks off"),
        (b"{}", True, "does not begin"),
        (as_protobuf(message((1, message((2, b"\xff"))))), True, "utf-8"),
    ],
)
def test_what_is_no_question_is_refused_with_the_reason(body: bytes, protobuf: bool, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_access(body, protobuf=protobuf)


def test_a_list_of_rules_needs_a_namespace() -> None:
    for body in (b'{"spec":{}}', b'{"spec":{"namespace":"a/b"}}'):
        with pytest.raises(ValueError, match="has to name a namespace"):
            read_namespace(body, protobuf=False)


def test_rules_in_force_are_listed_once_with_what_virtual_resources_stand_for() -> None:
    index = Index()
    index.put_user("ann", ())
    index.put_scope("n/host/press")
    shell = PolicyRule(verbs=("get",), api_groups=("terminal.theriseunion.io",), resources=("pods/exec",))
    wide = PolicyRule(verbs=("list",), api_groups=("",), resources=("pods",))
    paths = PolicyRule(verbs=("get",), non_resource_urls=("metrics",))
    for name, scope, rules in (("here", "n/host/press", (shell, wide)), ("above", "p", (wide, paths))):
        kind = {"n": "namespace", "p": "platform"}[scope[0]]
        index.put_role(RoleFacts(name, kind, "", rules, (), None))
        index.put_binding(Binding(name, name, scope, ("User:ann",)))
    assert resource_rules(index, "ann", "n/host/press") == [
        ResourceRule(("get",), ("terminal.theriseunion.io",), ("pods/exec",)),
        ResourceRule(("get", "create"), ("",), ("pods/exec",)),
        ResourceRule(("list",), ("",), ("pods",)),
    ]
    assert resource_rules(index, "ann", "n/host/next-door") == [ResourceRule(("list",), ("",), ("pods",))]
    assert path_rules(index, "ann") == [PathRule(("get",), ("/metrics",))]
