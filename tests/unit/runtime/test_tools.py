"""What is generated is what the rooms say; a stale file is found (P1, S4)."""

import subprocess
import sys
from pathlib import Path

import pytest
from tools.rbacgen import rules
from tools.rooms import kinds, rooms

from edge_kube.meta import kind_of
from edge_sdk.room import Rights

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("tool", ["crdgen", "rbacgen", "docgen"])
def test_committed_files_are_up_to_date(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tools.{tool}", "--check"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_all_eighteen_kinds_of_the_contract_are_found() -> None:
    assert len(kinds()) == 18
    assert all(kind_of(cls).group.endswith("theriseunion.io") for cls in kinds())


def test_every_room_may_read_what_its_loops_watch() -> None:
    found = rooms()
    assert {room.name for room in found} >= {"iam", "clusters", "components", "nodes", "apps"}
    labels = [loop.label for room in found for loop in room.loops]
    assert len(labels) == len(set(labels))  # they name metrics


def test_rights_of_one_resource_are_merged_and_named_ones_kept_apart() -> None:
    merged = rules(
        [
            Rights("", "pods", ("get",)),
            Rights("", "pods", ("list", "get")),
            Rights("", "secrets", ("get",), names=("one",)),
            Rights("", "services", ("get", "list")),
        ]
    )
    assert merged == [
        {"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"], "verbs": ["get"]},
    ]
