"""The OpenAPI document says what is served, and all of it (G2)."""

import json
import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from edge.apiserver.mirrors.kinds import SERVED
from edge.apiserver.openapi.document import build
from edge.apiserver.openapi.kinds import base_path, tag_of
from edge.apiserver.openapi.operation import Described, Operation, UndescribedError
from edge.apiserver.openapi.operations import all_operations
from edge.apiserver.openapi.page import page
from edge.apiserver.openapi.routes import document_bytes
from edge_kube.meta import kind_of

DOCUMENT = json.loads(document_bytes())


def test_the_document_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert [str(one.message) for one in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_kind_can_be_listed_made_read_changed_and_deleted() -> None:
    for cls in SERVED:
        kind = kind_of(cls)
        path = base_path(kind)
        assert DOCUMENT["paths"][path]["get"]["responses"]["200"]
        inside = path
        if kind.namespaced:
            inside = f"{path.rpartition('/')[0]}/namespaces/{{namespace}}/{kind.plural}"
        one = DOCUMENT["paths"][f"{inside}/{{name}}"]
        assert {"get", "put", "patch", "delete"} <= one.keys()
        assert "post" in DOCUMENT["paths"][inside]
        assert tag_of(kind) in one["get"]["tags"]


def test_references_lead_somewhere_and_names_are_unique() -> None:
    text = json.dumps(DOCUMENT)
    for part, name in re.findall(r'"#/components/(\w+)/([^"]+)"', text):
        assert name in DOCUMENT["components"][part], name
    ids = re.findall(r'"operationId": "([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_what_needs_no_token_says_so_and_everything_else_does() -> None:
    public = {
        path
        for path, item in DOCUMENT["paths"].items()
        for one in item.values()
        if isinstance(one, dict) and one.get("security") == []
    }
    assert {"/oauth/token", "/healthz", "/readyz", "/oapis/openapi.json"} <= public
    assert not [path for path in public if "theriseunion" in path or path.startswith(("/api", "/clusters"))]


def test_a_route_that_is_not_described_is_named() -> None:
    described = Described(
        [Operation("GET", "/oapis/a/v1/me", "…"), Operation("GET", "/oapis/a/v1/proxy/{name}/{path+}", "…")]
    )
    assert described.has("HEAD", ("oapis", "a", "v1", "me"))
    assert described.has("GET", ("oapis", "a", "v1", "proxy", "x", "y", "z"))
    assert not described.has("GET", ("oapis", "a", "v1", "proxy", "x"))
    with pytest.raises(UndescribedError, match="POST /oapis/a/v1/me"):
        described.require([("POST", ("oapis", "a", "v1", "me"))])


def test_equal_declarations_make_an_equal_document() -> None:
    assert json.dumps(build(all_operations())) == json.dumps(build(tuple(reversed(all_operations()))))


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = page(DOCUMENT)
    assert not re.search(r"<script|\bon\w+=|(?:src|href)=[\"']?(?:https?:)?//", html)
    links, marks = set(re.findall(r'href="#([^"]+)"', html)), re.findall(r'id="([^"]+)"', html)
    assert links <= set(marks)
    assert len(marks) == len(set(marks))
    hostile = DOCUMENT | {"info": DOCUMENT["info"] | {"description": "<script>alert(1)</script>"}}
    assert "<script" not in page(hostile)
