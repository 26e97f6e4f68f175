"""The example plugin: conformance, refusals, and the server that runs inside its container (A4, A9)."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edge_function.server
from edge_function import FunctionPlugin
from edge_kube.harness.processes import free_port
from edge_sdk.plugins import Registry
from edge_sdk.provisioner import Topology, Version
from edge_sdk.testing import ProvisionerConformance

HELLO = """
def handle(event):
    if event["query"].get("fail"):
        raise RuntimeError("as asked")
    return {"hello": event["query"].get("name", "world"), "body": event["body"]}
"""


def function(**config: Any) -> Version:
    return Version(application="hello", version="1.0.0", spec={"config": config})


class TestFunctionPlugin(ProvisionerConformance):
    plugin = FunctionPlugin
    good = (
        function(source=HELLO),
        function(source=HELLO, replicas=2, env={"GREETING": "hi"}, image="python:3.12"),
        function(runtime="shell", source="#!/bin/sh\necho; echo hello\n"),
    )
    bad = (
        function(),
        function(source=""),
        function(source="def handle(event:"),
        function(source=HELLO, handler="other"),
        function(source=HELLO, handler="not a name"),
        function(source=HELLO, runtime="cobol"),
        function(source=HELLO, replicas=-1),
        function(source=HELLO, replicas="two"),
        function(source=HELLO, colour="red"),
        function(source="#" * 300_000),
    )


def test_the_plugin_is_found_by_its_entry_point_beside_the_built_in_one() -> None:
    registry = Registry()
    registry.refresh()
    assert {"function", "workload"} <= set(registry.names)
    assert registry.refused == {}


def test_a_refusal_shows_the_line_that_python_refuses() -> None:
    (violation,) = FunctionPlugin().validate(function(source="x = 1\ndef handle(event:"))
    assert (violation.field, violation.value) == ("spec.config.source", "def handle(event:")


def test_a_changed_source_replaces_the_pods() -> None:
    def template(source: str) -> dict[str, Any]:
        plan = FunctionPlugin().provision(function(source=source), Topology(namespace="a"))
        return plan.objects[1]["spec"]["template"]

    assert template(HELLO) != template(HELLO + "\n# changed")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    source = tmp_path / "function.py"
    source.write_text(HELLO)
    port = free_port()
    server = str(Path(edge_function.server.__file__))
    command = [sys.executable, server, str(source), "handle", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def call(url: str, body: bytes | None = None) -> Any:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(url, data=body, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.05)  # the server is still starting
    raise AssertionError(f"nothing listens at {url}")


def test_the_server_hands_the_request_to_the_function(address: str) -> None:
    assert call(f"{address}/x?name=edge", b"text") == {"hello": "edge", "body": "text"}


def test_a_failing_function_is_a_500_and_the_server_lives_on(address: str) -> None:
    call(address)
    with pytest.raises(urllib.error.HTTPError) as failure:
        call(f"{address}/?fail=1")
    assert (failure.value.code, json.load(failure.value)) == (500, {"error": "RuntimeError"})
    failure.value.close()
    assert call(address)["hello"] == "world"
