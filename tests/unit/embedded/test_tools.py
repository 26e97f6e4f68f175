"""Keys and recipes of the built executables (R15): a change in one tool rebuilds no other."""

import shutil
from pathlib import Path

import pytest

from edge.embedded import tools
from edge.embedded.steps import StepError

ROOT = Path(__file__).parents[3] / "tools"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT, tmp_path / "tools"))


def keys(root: Path, release: str = "go1.26.8") -> dict[str, str]:
    return {tool.name: tool.key(release) for tool in tools.catalogue(root).values()}


def test_a_change_in_one_tool_changes_only_its_key(copy: Path) -> None:
    before = keys(copy)
    with (copy / "kube" / "main.go").open("a") as file:
        file.write("// changed\n")
    after = keys(copy)
    assert {name for name in before if before[name] != after[name]} == {"kube"}


def test_another_go_release_changes_every_key(copy: Path) -> None:
    before, after = keys(copy), keys(copy, "go1.27.0")
    assert all(before[name] != after[name] for name in before)


def test_a_version_stands_in_the_module_file_alone(copy: Path) -> None:
    kube = tools.catalogue(copy)["kube"]
    assert f"version.gitVersion=v{kube.version} " in kube.ldflags
    assert f"gitMinor={kube.version.split('.')[1]} " in kube.ldflags
    assert "{" not in kube.ldflags


def test_a_variant_takes_another_pinned_release(copy: Path) -> None:
    text = (copy / "kube" / "go.mod").read_text()
    (copy / "kube" / "go-1.30.mod").write_text(
        text.replace("k8s.io/kubernetes v1.36.3", "k8s.io/kubernetes v1.30.14")
    )
    shutil.copy(copy / "kube" / "go.sum", copy / "kube" / "go-1.30.sum")
    older = tools.catalogue(copy, {"kube": "1.30"})["kube"]
    assert older.version == "1.30.14"
    assert older.key("go1.26.8") != keys(copy)["kube"]


def test_a_module_that_does_not_require_its_subject_is_named(copy: Path) -> None:
    (copy / "runc" / "go.mod").write_text("module x\n")
    with pytest.raises(StepError, match=r"runc/go\.mod"):
        tools.catalogue(copy)
