"""Owners only where the garbage collector understands them; otherwise labels (design kube-runtime §8)."""

import pytest

from edge_kube.core import ConfigMap, Namespace
from edge_kube.meta import ObjectMeta
from edge_kube.ownership import OWNER_UID, own, owner_labels

CHILD = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "child", "namespace": "press"}}


def test_an_owner_of_the_same_namespace_or_of_the_cluster_is_taken() -> None:
    config = ConfigMap(metadata=ObjectMeta(name="a", namespace="press", uid="u1"))
    namespace = Namespace(metadata=ObjectMeta(name="press", uid="u2"))
    for owner, uid in ((config, "u1"), (namespace, "u2")):
        (reference,) = own(CHILD, owner)["metadata"]["ownerReferences"]
        assert reference["uid"] == uid
        assert reference["controller"] is True
    assert "ownerReferences" not in CHILD["metadata"]


def test_an_owner_of_another_namespace_is_refused_since_the_child_would_be_deleted() -> None:
    stranger = ConfigMap(metadata=ObjectMeta(name="a", namespace="paint", uid="u1"))
    with pytest.raises(ValueError, match="use owner labels"):
        own(CHILD, stranger)
    assert owner_labels(stranger)[OWNER_UID] == "u1"
