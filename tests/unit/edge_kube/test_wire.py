"""Bytes to objects: lines of any length, objects of any sender (R6)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_kube.core import ConfigMap, Pod, Secret
from edge_kube.errors import AlreadyExists, Conflict, Gone, ServerError
from edge_kube.meta import Key
from edge_kube.wire import (
    Broken,
    LineSplitter,
    LineTooLongError,
    ObjectDecoder,
    UndecodableError,
    error_of_body,
)


@given(st.lists(st.binary().map(lambda line: line.replace(b"\n", b"")), max_size=8), st.data())
def test_lines_come_out_however_the_stream_was_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    seen: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        seen += splitter.feed(stream[:size])
        stream = stream[size:]
    assert seen == [line for line in lines if line]


def test_a_line_without_end_is_given_up_before_it_fills_the_memory() -> None:
    splitter = LineSplitter(line_bytes_max=100)
    for _ in range(10):
        assert list(splitter.feed(b"x" * 10)) == []
    with pytest.raises(LineTooLongError):
        list(splitter.feed(b"x"))


def test_nulls_of_named_fields_are_absent_and_those_of_free_maps_stay() -> None:
    body = b"""{"metadata": {"name": "p", "creationTimestamp": null, "labels": null},
        "spec": {"containers": [{"name": "c", "image": null}], "nodeName": null},
        "status": {"conditions": null,
            "containerStatuses": [{"name": "c", "state": {"waiting": {"x": null}}}]}}"""
    pod = ObjectDecoder(Pod).decode(body)
    assert (pod.metadata.creation_timestamp, pod.spec.node_name) == ("", "")
    assert pod.spec.containers[0].image == ""
    assert pod.status.container_statuses[0].state.waiting == {"x": None}


def test_an_undecodable_object_comes_back_with_its_key_and_without_its_values() -> None:
    body = b'{"metadata": {"name": "s", "namespace": "n", "uid": "u"}, "data": {"password": ["hunter2"]}}'
    broken = ObjectDecoder(Secret).decode_or_broken(msgspec.Raw(body))
    assert isinstance(broken, Broken)
    assert broken.key == Key("n", "s")
    assert "$.data" in broken.why
    assert "hunter2" not in broken.why


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_garbage_is_an_error_and_never_a_crash(body: bytes) -> None:
    with pytest.raises(UndecodableError):
        ObjectDecoder(ConfigMap).decode(body)


def test_what_kubectl_remembers_in_annotations_is_not_kept() -> None:
    annotations = '{"kubectl.kubernetes.io/last-applied-configuration": "{...}", "kept": "yes"}'
    body = f'{{"metadata": {{"name": "x", "annotations": {annotations}}}}}'.encode()
    assert ObjectDecoder(ConfigMap).decode(body).metadata.annotations == {"kept": "yes"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, b'{"reason": "AlreadyExists", "code": 409}', AlreadyExists),
        (409, b'{"reason": "Conflict", "code": 409}', Conflict),
        (200, b'{"reason": "Expired", "code": 410}', Gone),
        (502, b"<html>bad gateway</html>", ServerError),
        (500, b"", ServerError),
    ],
)
def test_answers_become_the_error_they_stand_for(status: int, body: bytes, kind: type[Exception]) -> None:
    error = error_of_body(status, body)
    assert type(error) is kind
    assert "<html>" not in str(error)
