"""docs/security.md names tests that exist, and leaves out no threat that was asked for (design §12)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "::" in line]
ASKED = (
    *(f"S{n} " for n in range(1, 19)),
    "`Impersonate-*`", "`X-Remote-*`", "`X-Forwarded-*`", "upgrade smuggling", "Request smuggling",
    "path normalisation", "cross-tenant probe", "token confusion", "alg none", "key confusion", "audience",
    "expiry", "clock skew", "Refresh replay", "CSRF on authorize", "CSRF on cookie calls", "Open redirect",
    "LDAP injection", "Password spraying", "Schemathesis", "10,000 fuzzed requests", "Slow-loris",
    "Decompression bombs", "Header floods",
)  # fmt: skip


def names_in(path: Path) -> set[str]:
    """Functions, and names given to a class of tests."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in found if name.lower().startswith("test")}


def test_every_test_that_the_page_names_exists() -> None:
    assert len(NAMED) > 80
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (path := ROOT / "tests" / file).is_file() or name not in names_in(path)
    ]
    assert missing == []


@pytest.mark.parametrize("threat", ASKED)
def test_every_threat_that_was_asked_for_has_a_row_with_a_test(threat: str) -> None:
    assert [row for row in ROWS if threat in row.split(" | ")[0] + " "], threat


def test_every_row_names_what_defends() -> None:
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 3, row
        assert all(cells), row
