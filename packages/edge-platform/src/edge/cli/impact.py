"""`edge auth impact -f FILE`: whose access the objects of a file would give and take, before they do.

edge auth impact -f binding.yaml
kubectl get iamrole editor -o yaml | edge auth impact --delete -f -
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from edge.cli.gateway import CommandError, add_flags, ask
from edge.iam.impact import ImpactResult
from edge.iam.impacttext import sentences
from edge.iam.types import GROUP

PATH: Final = f"/oapis/{GROUP}/v1alpha1/access/impact"
LINES_MAX: Final = 1000


def add_word(one: argparse.ArgumentParser) -> None:
    one.add_argument("-f", "--filename", required=True, help="objects as YAML or JSON; - reads what comes in")
    one.add_argument("--delete", action="store_true", help="they would be deleted, not applied")
    one.add_argument("-o", "--output", choices=("text", "json"), default="text")
    add_flags(one)
    one.set_defaults(run=_impact)


def _impact(given: argparse.Namespace) -> int:
    operation = "delete" if given.delete else "put"
    bodies = [{"operation": operation, "object": obj} for obj in _objects(given.filename)]
    answers = [ask(given, "POST", PATH, body) for body in bodies]
    if given.output == "json":
        print(json.dumps(answers, indent=2, ensure_ascii=False))
        return 0
    for answer in answers:
        found = msgspec.convert(answer, ImpactResult)
        print(f"{operation} {found.kind} {found.name}")
        for line in sentences(found, LINES_MAX):
            print(f"  {line}")
    return 0


def _objects(filename: str) -> list[dict[str, Any]]:
    """Raises CommandError."""
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text()
        found = [one for one in yaml.safe_load_all(text) if one is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{filename} was not read: {error}", 2) from None
    if not found or not all(isinstance(one, dict) for one in found):
        raise CommandError(f"{filename} holds no objects: write them as for kubectl apply", 2)
    return found
