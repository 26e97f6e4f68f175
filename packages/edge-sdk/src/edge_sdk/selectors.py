"""Label selectors as Kubernetes reads them, save that an empty one selects nothing. Pure."""

from collections.abc import Mapping
from typing import Final

from edge_kube.meta import LabelSelector, LabelSelectorRequirement

OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a selector picks these labels. An empty one picks nothing: no group takes every node."""
    if not selector.match_labels and not selector.match_expressions:
        return False
    if not selector.match_labels.items() <= labels.items():
        return False
    return all(_holds(requirement, labels) for requirement in selector.match_expressions)


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False
