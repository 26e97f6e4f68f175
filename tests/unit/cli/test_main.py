"""`edge` ends in a sentence whatever its output, its arguments, its home or its files are (issue 5 §2)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.person import EDGE

from edge.cli import auth, output
from edge.cli.errors import CommandError
from edge.cli.kubeconfig_file import default_file
from edge.cli.main import main
from edge.cli.manifests import objects_in
from edge.cli.session_file import Kept, kept, kept_file

FLAGS = ("version", "--client")


def edge(*words: str | bytes, script: str = '"$@"', **env: str) -> subprocess.CompletedProcess[str]:
    """In a shell that does something with its output."""
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-c", EDGE, *words],
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **env},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_a_full_disk_behind_the_output_is_told() -> None:
    done = edge(*FLAGS, script='"$@" > /dev/full')
    assert (done.returncode, done.stderr) == (1, "edge stopped: No space left on device.\n")


@pytest.mark.parametrize("words", [FLAGS, ("--help",), ("get", "--help")])
def test_a_reader_that_has_seen_enough_is_no_error(words: tuple[str, ...]) -> None:
    done = edge(*words, script='{ sleep 0.3; "$@"; echo "ended with $?" >&2; } | true')
    assert done.stderr == "ended with 0\n"


def test_closed_output_is_no_error() -> None:
    done = edge(*FLAGS, script='"$@" >&-')
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_that_lacks_a_sign_shows_it_by_its_number() -> None:
    done = edge("get", "--help", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2026" in done.stdout


def test_an_argument_that_is_no_text_is_not_understood() -> None:
    done = edge("audit", "query", "--user", b"\xff", EDGE_TOKEN="some")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not UTF-8" in done.stderr


def test_without_a_home_a_token_of_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("XDG_CONFIG_HOME", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert kept() == Kept()
    for where, flag in ((kept_file, "HOME"), (default_file, "-f")):
        with pytest.raises(CommandError, match=flag):
            where()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {on: x}", "put quotes around it"),
        ("data: {~: x}", "put quotes around it"),
        ("&a [*a]", "holds itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("a: " + "9" * 5000, "digits"),
    ],
)
def test_a_file_of_objects_that_is_none_is_told(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(text)
    with pytest.raises(CommandError, match=says) as raised:
        objects_in(str(file))
    assert raised.value.code == 2
    assert str(file) in str(raised.value)


def test_plain_words_are_what_kubectl_takes_them_for(tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    values = "{at: 22:30, day: 2026-01-31, odd: 2024-13-45, mode: 0644, size: 10, half: 0.5, is: on}"
    file.write_text(f"metadata: {{name: a}}\nspec: {values}")
    (found,) = objects_in(str(file))
    assert found["spec"] == {
        "at": "22:30", "day": "2026-01-31", "odd": "2024-13-45", "mode": 0o644, "size": 10, "half": 0.5,
        "is": True,
    }  # fmt: skip


def test_nothing_in_an_object_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table([["NAME", "TEXT"], ["a", "\x1b]0;owned\x07\x9b31m"], ["müller", "日本"]])
    assert capsys.readouterr().out.splitlines() == [
        "NAME    TEXT",
        "a       \\x1b]0;owned\\x07\\x9b31m",
        "müller  日本",
    ]


@pytest.mark.parametrize("form", ["table", "wide", "name", "yaml"])
def test_nor_does_the_name_of_a_subject_that_somebody_has_bound(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Subjects are free texts: who may write a binding would else write to an administrator's terminal."""

    def told(*_: object) -> dict[str, object]:
        return {
            "subjects": [{"kind": "User", "name": "ann\x1b]0;owned\x07\x9b31m", "via": list[str]()}],
            "cursor": "",
        }

    monkeypatch.setattr(auth, "ask", told)
    assert main(["auth", "who-can", "get", "pods", "-o", form]) == 0
    said = capsys.readouterr().out
    assert "owned" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)


@pytest.mark.parametrize(
    "server", ["localhost:9090", "ftp://edge.example.com", "http://[::1", "http://", "http://h:x"]
)
def test_what_is_no_address_is_not_understood_before_anything_is_asked(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_TOKEN", "some")
    assert main(["get", "users", "--server", server]) == 2
    assert f'"{server}" is no address of a gateway' in capsys.readouterr().err
