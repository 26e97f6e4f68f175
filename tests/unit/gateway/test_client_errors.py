"""What the Python client makes of an answer that is no success (G2)."""

import json
from typing import Any

import pytest

from edge_sdk.client import errors
from edge_sdk.client.errors import error_of
from edge_sdk.client.http import status_in

STATUS: dict[str, Any] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "There is no such column.",
    "reason": "BadRequest",
    "code": 400,
}


def raw(**more: Any) -> bytes:
    return json.dumps(STATUS | more).encode()


def test_what_a_code_is_about_may_be_a_text_or_a_list() -> None:
    edge = {"code": "UnknownColumn", "params": {"column": "colour", "known": ["name", "age"]}}
    error = error_of(400, raw(edge=edge))
    assert isinstance(error, errors.BadRequest)
    assert error.code == "UnknownColumn"
    assert error.edge.params == {"column": "colour", "known": ["name", "age"]}


@pytest.mark.parametrize(
    "more",
    [
        {"edge": {"code": 7}},
        {"edge": {"next": [{"kind": "retry", "value": 3, "label": "x"}]}},
        {"details": {"causes": "many"}},
        {"metadata": None},
    ],
)
def test_a_status_that_tells_more_than_is_known_here_keeps_its_sentence(more: dict[str, Any]) -> None:
    error = error_of(400, raw(**more))
    assert isinstance(error, errors.BadRequest)
    assert str(error) == "There is no such column."
    assert error.code == "BadRequest"
    ended = status_in(raw(**more))
    assert isinstance(ended, errors.BadRequest)


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"kind": "Pod", "metadata": 1}', b'{"code": []}'])
def test_what_is_no_status_is_said_to_be_none(body: bytes) -> None:
    error = error_of(502, body)
    assert isinstance(error, errors.Unreachable)
    assert error.http_status == 502
