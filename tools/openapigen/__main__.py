"""Writes the gateway's OpenAPI document, and from it the client in edge_sdk/client."""

import subprocess
import sys
from pathlib import Path

from edge.apiserver.openapi.document import build, text_of
from edge.apiserver.openapi.operations import all_operations
from tools.openapigen.calls import calls, kinds
from tools.openapigen.models import HEADER, modules, types_of
from tools.writing import ROOT, main

DOCUMENT = Path("packages/edge-platform/src/edge/apiserver/openapi/openapi.json")
CLIENT = Path("packages/edge-sdk/src/edge_sdk/client")
MODELS = CLIENT / "models"


def files() -> dict[Path, str]:
    """Path → content."""
    document = build(all_operations())
    types = types_of(document)
    python = {
        MODELS / "__init__.py": HEADER.format(about="Types of the gateway's API.").rstrip() + "\n",
        CLIENT / "calls.py": calls(document, types),
        CLIENT / "kinds.py": kinds(document, types),
    }
    for module, code in modules(types).items():
        python[MODELS / f"{module.rpartition('.')[2]}.py"] = code
    return {DOCUMENT: text_of(document)} | {path: _formatted(path, code) for path, code in python.items()}


def _formatted(path: Path, code: str) -> str:
    """By the project's own rules, so that a check of the format finds nothing to do."""
    for words in (("check", "--select", "I,UP", "--fix", "--exit-zero", "-q"), ("format", "-q")):
        command = [sys.executable, "-m", "ruff", *words, "--stdin-filename", str(path), "-"]
        code = subprocess.run(
            command, input=code, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    return code


if __name__ == "__main__":
    main("openapigen", files(), owned=(MODELS, "*.py"))
