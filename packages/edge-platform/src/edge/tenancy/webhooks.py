"""Admission of workspaces and of namespaces that go into one: what is refused, and who may do it. Pure."""

from collections.abc import Iterator
from typing import Final

from edge.iam.escalation import Lack, Steps, manager_lacks, moved_lacks, namespace_lacks
from edge.iam.index import Index, Who
from edge.tenancy.limits import quota_violations
from edge.tenancy.types import Workspace
from edge_kube.core import Namespace
from edge_sdk.problem import Violation
from edge_sdk.scopes import WORKSPACE_LABEL


def _label(obj: str) -> str:
    held = f"{obj} != null && has({obj}.metadata.labels) && '{WORKSPACE_LABEL}' in {obj}.metadata.labels"
    return f"({held} ? {obj}.metadata.labels['{WORKSPACE_LABEL}'] : '')"


MOVES_NAMESPACE: Final = {"workspace-changes": f"{_label('object')} != {_label('oldObject')}"}
"""Namespaces are everybody's: only a change of the workspace is ours to ask about, and nothing else waits."""


def check_workspace(new: Workspace, old: Workspace | None) -> list[Violation]:
    """An unchanged quota is never judged anew: an older object must keep taking labels and finalizers."""
    quotas = new.spec.template.resource_quotas
    if old is not None and old.spec.template.resource_quotas == quotas:
        return []
    return list(quota_violations(quotas))


def workspace_author_lacks(index: Index, who: Who, new: Workspace, old: Workspace | None) -> Steps:
    """Whoever makes a workspace becomes its admin and may choose a manager; later only who holds as much."""
    yield from moved_lacks(index, who, "workspace", new.metadata, old and old.metadata)
    if old is not None and new.spec.manager and new.spec.manager != old.spec.manager:
        yield from manager_lacks(index, who, new.metadata)


def namespace_author_lacks(index: Index, who: Who, new: Namespace, old: Namespace | None) -> Iterator[Lack]:
    yield from namespace_lacks(index, who, new.metadata, old and old.metadata)
