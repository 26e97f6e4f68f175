"""Objects in files, as for kubectl: YAML or JSON, several in one file, - for standard input."""

import sys
from pathlib import Path
from typing import Any, cast

import yaml

from edge.cli.gateway import CommandError

Manifest = dict[str, Any]


def objects_in(filename: str) -> list[Manifest]:
    """Lists are taken apart. Raises CommandError."""
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
        found = [one for one in yaml.safe_load_all(text) if one is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{filename} was not read: {error}", 2) from None
    if not found or not all(isinstance(one, dict) for one in found):
        raise CommandError(f"{filename} holds no objects: write them as for kubectl apply", 2)
    return [one for each in cast("list[Manifest]", found) for one in _taken_apart(each)]


def _taken_apart(obj: Manifest) -> list[Manifest]:
    if str(obj.get("kind", "")).endswith("List") and isinstance(obj.get("items"), list):
        return cast("list[Manifest]", obj["items"])
    return [obj]
