"""`edge auth impact -f FILE`: whose access the objects of a file would give and take, before they do.

edge auth impact -f binding.yaml
kubectl get iamrole editor -o yaml | edge auth impact --delete -f -
"""

import argparse
from typing import Final

import msgspec

from edge.cli import output
from edge.cli.gateway import add_flags, ask
from edge.cli.manifests import objects_in
from edge.iam.impact import ImpactResult
from edge.iam.impacttext import sentences
from edge.iam.types import GROUP

PATH: Final = f"/oapis/{GROUP}/v1alpha1/access/impact"
LINES_MAX: Final = 1000


def add_word(one: argparse.ArgumentParser) -> None:
    one.add_argument("-f", "--filename", required=True, help="objects as YAML or JSON; - reads what comes in")
    one.add_argument("--delete", action="store_true", help="they would be deleted, not applied")
    output.add_output(one)
    add_flags(one)
    one.set_defaults(run=_impact)


def _impact(given: argparse.Namespace) -> int:
    operation = "delete" if given.delete else "put"
    bodies = [{"operation": operation, "object": obj} for obj in objects_in(given.filename)]
    answers = [ask(given, "POST", PATH, body) for body in bodies]
    if not output.is_for_people(given):
        output.show(given, answers, [one["name"] for one in answers])
        return 0
    for answer in answers:
        found = msgspec.convert(answer, ImpactResult)
        output.tell(f"{operation} {found.kind} {found.name}")
        for line in sentences(found, LINES_MAX):
            output.tell(f"  {line}")
    return 0
