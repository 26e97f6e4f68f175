"""A kubeconfig file that others write too loses nothing, and is its owner's alone (I3)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.cli.gateway import CommandError
from edge.cli.kubeconfig_file import default_file, merged, put_into, renamed


def config(name: str, server: str = "https://gateway", token: str = "t") -> dict[str, Any]:  # noqa: S107
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def test_a_new_file_is_its_owners_alone_and_so_is_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config"
    put_into(file, config("a"), use=False)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert yaml.safe_load(file.read_text())["current-context"] == "a"
    assert list(file.parent.iterdir()) == [file]


def test_what_is_there_stays_and_the_same_name_is_renewed(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump({**config("other"), "preferences": {"colors": True}}))
    file.chmod(0o644)
    put_into(file, config("a"), use=False)
    put_into(file, config("a", token="u"), use=True)
    found = yaml.safe_load(file.read_text())
    assert [one["user"]["token"] for one in found["users"]] == ["t", "u"]
    assert (found["preferences"], found["current-context"]) == ({"colors": True}, "a")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    put_into(link, config("a"), use=False)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["words", "[1]", "clusters: {a: b}", "users: [x]", "a: [", "contexts: [{}]"])
def test_a_file_that_is_no_kubeconfig_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(CommandError, match="no kubeconfig"):
        put_into(file, config("a"), use=False)
    assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_an_empty_file_is_a_kubeconfig(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.touch()
    put_into(file, config("a"), use=False)
    assert yaml.safe_load(file.read_text()) == config("a")


def test_a_name_that_another_gateway_has_is_refused_and_another_is_taken() -> None:
    have = config("a", server="https://elsewhere")
    with pytest.raises(CommandError, match="--context"):
        merged(have, config("a"), use=False)
    found = merged(have, renamed(config("a"), "b"), use=False)
    assert [one["name"] for one in found["clusters"]] == ["a", "b"]
    assert found["contexts"][1] == {"name": "b", "context": {"cluster": "b", "user": "b"}}


def test_kubectls_lock_is_respected(tmp_path: Path) -> None:
    file, lock = tmp_path / "config", tmp_path / "config.lock"
    lock.touch()
    with pytest.raises(CommandError, match="Another program"):
        put_into(file, config("a"), use=False)
    assert lock.exists()
    assert not file.exists()


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="was not written"):
        put_into(tmp_path / "file" / "config", config("a"), use=False)


def test_the_file_is_the_one_that_kubectl_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert default_file() == tmp_path / ".kube" / "config"
    monkeypatch.setenv("KUBECONFIG", f":{tmp_path}/one:/two")
    assert default_file() == tmp_path / "one"
