"""The plugin of docs/plugins.md is installed, loaded, tested and used, as the page says (A4, A9)."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edge_sdk.plugins import Registry
from edge_sdk.provisioner import ALLOWED_KINDS, ProvisionerPlugin, Topology, Version

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "motd-plugin"


def test_the_example_passes_the_conformance_tests(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "motd")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_motd_plugin.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 passed" in done.stdout, done.stdout


def test_the_example_is_found_by_its_entry_point_and_runs_its_own_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(EXAMPLE / "motd_plugin.py", tmp_path)
    info = tmp_path / "motd_plugin-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: motd-plugin\nVersion: 1.0.0\n")
    declared = re.search(r'\[project\.entry-points\."edge\.provisioners"\]\n(\w+) = "(.+)"', _project())
    assert declared is not None
    (info / "entry_points.txt").write_text(f"[edge.provisioners]\n{declared[1]} = {declared[2]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry()
    registry.refresh()
    plugin = registry.get("motd")
    assert plugin is not None, registry.refused
    application, version, deployment = yaml.safe_load_all((EXAMPLE / "motd.yaml").read_text())
    assert application["metadata"]["labels"]["app.theriseunion.io/provisioner"] == "motd"
    (topology,) = deployment["spec"]["topologies"]
    plan = plugin.provision(
        Version(application="motd", version="v1.0.0", spec=version["spec"]),
        Topology(namespace="default", node_group=topology["nodeGroup"]),
    )
    assert [obj["metadata"]["name"] for obj in plan.objects] == ["motd-beijing-edge"] * 2


def test_the_page_names_every_method_and_every_kind() -> None:
    page = (DOCS / "plugins.md").read_text()
    methods = [name for name in vars(ProvisionerPlugin) if not name.startswith("_")]
    for name in methods:
        assert f"`{name}" in page, name
    for kind in ALLOWED_KINDS:
        assert kind.rpartition("/")[2] in page, kind


def _project() -> str:
    return (EXAMPLE / "pyproject.toml").read_text()
