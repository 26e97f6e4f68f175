"""The museum as real Helm sees it: one repository for the cluster's people (K7, K12)."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import pytest
from tests.support.charts import chart
from tests.support.museum import Museum, museum

from edge.museum.chart import read_chart
from edge_kube.harness.processes import tool


def _helm(home: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(
        [tool("helm"), *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _upload(running: Museum, archive: bytes) -> None:
    with urllib.request.urlopen(f"{running.url}/api/charts", data=archive) as answer:
        assert answer.status == 201


def test_helm_adds_searches_pulls_and_renders_from_it(tmp_path: Path) -> None:
    with museum(tmp_path / "charts") as running:
        _helm(tmp_path, "repo", "add", "edge-platform", running.url)
        _upload(running, chart("edge-platform", "1.0.0", appVersion="1e3", annotations={"note": "a: b\n- c"}))
        _upload(running, chart("edge-platform", "1.1.0"))
        _upload(running, chart("edge-platform", "2.0.0-rc.1"))
        _helm(tmp_path, "repo", "update")
        found = json.loads(_helm(tmp_path, "search", "repo", "edge-platform", "--versions", "-o", "json"))
        assert [(row["version"], row["app_version"]) for row in found] == [("1.1.0", ""), ("1.0.0", "1e3")]
        _helm(tmp_path, "pull", "edge-platform/edge-platform")
        assert read_chart((tmp_path / "edge-platform-1.1.0.tgz").read_bytes()).version == "1.1.0"
        rendered = _helm(tmp_path, "template", "x", "edge-platform/edge-platform", "--version", "1.0.0")
        assert "name: x-settings" in rendered


def test_a_chart_that_helm_packaged_is_taken(tmp_path: Path) -> None:
    _helm(tmp_path, "create", "web")
    _helm(tmp_path, "package", "web", "--version", "3.2.1")
    with museum(tmp_path / "charts") as running:
        _upload(running, (tmp_path / "web-3.2.1.tgz").read_bytes())
        shown = _helm(tmp_path, "show", "chart", "web", "--repo", running.url)
        assert "version: 3.2.1" in shown


@pytest.mark.parametrize("as_json", ["true", "false"])
def test_both_forms_of_the_index_are_read(tmp_path: Path, as_json: str) -> None:
    with museum(tmp_path / "charts", JSON_INDEX=as_json) as running:
        _upload(running, chart("web"))
        assert "web" in _helm(tmp_path, "show", "chart", "web", "--repo", running.url)
