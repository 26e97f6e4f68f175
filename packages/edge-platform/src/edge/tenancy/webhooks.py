"""Admission of workspaces and of namespaces that go into one: what is refused, and who may do it. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from edge.iam.escalation import (
    Steps,
    cluster_lacks,
    manager_lacks,
    moved_lacks,
    namesakes_lack,
    namespace_lacks,
    waiting_lacks,
)
from edge.iam.index import Index, Who
from edge.tenancy.limits import FIELD, QUOTA_NAME, quota_violations
from edge.tenancy.types import Workspace, WorkspaceSpec
from edge_kube.core import Namespace
from edge_sdk.cel import changes, changes_spec
from edge_sdk.problem import Violation
from edge_sdk.scopes import CLUSTER_LABEL, FORCE_DELETE_ANNOTATION, WORKSPACE_LABEL

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SHARE: Final = {"share-of-a-workspace": f"object.metadata.name == '{QUOTA_NAME}'"}
"""Quotas are everybody's: only those of our name are ours to ask about."""
TAKES_SHARE: Final = (
    f"oldObject.metadata.name == '{QUOTA_NAME}' && "
    "!('system:serviceaccounts:kube-system' in request.userInfo.groups)"
)
"""The cluster's own controllers clear a namespace that goes; they wait for nobody."""
NOT_YOURS: Final = (
    f"the ResourceQuota {QUOTA_NAME} is a namespace's share of its workspace's quota, which the platform "
    f"alone writes; give one of your own another name, or have {FIELD} of the workspace changed"
)
MOVES_NAMESPACE: Final = {"workspace-changes": changes("labels", WORKSPACE_LABEL)}
"""Namespaces are everybody's: only a change of the workspace is ours to ask about, and nothing else waits."""
MOVES_ANYHOW: Final = "true"
"""Also of one that is being deleted, and may be for long: what runs in it goes on counting somewhere."""
STILL_BOUNDS: Final = " || ".join(
    (changes("labels", CLUSTER_LABEL), changes("annotations", FORCE_DELETE_ANNOTATION), changes_spec())
)
"""A workspace that is being deleted stays while it has namespaces: until then its quota bounds them, and what
is bound there counts in its cluster."""


def check_workspace(new: Workspace, old: Workspace | None) -> list[Violation]:
    """What is unchanged is never judged anew: an older object must keep taking labels and finalizers."""
    quotas, names, manager = _parts(new.spec)
    old_quotas, old_names, old_manager = _parts(old.spec if old is not None else WorkspaceSpec())
    found: list[Violation] = []
    if names != old_names:
        found += _bad_names(names)
    if manager != old_manager and manager.startswith("system:"):
        why = "it is the cluster's own, and no right that is given here reaches it"
        found.append(Violation("spec.manager", manager, why, "the name of a User"))
    return [*found, *quota_violations(quotas)] if quotas != old_quotas else found


def _parts(spec: WorkspaceSpec) -> tuple[Mapping[str, str], tuple[str, ...], str]:
    return spec.template.resource_quotas, spec.template.namespaces, spec.manager


def _bad_names(names: Iterable[str]) -> Iterator[Violation]:
    for n, name in enumerate(names):
        if not _NAMESPACE.fullmatch(name):
            why = "no namespace can be called so"
            accepted = "up to 63 lower-case letters, digits and dashes, with a letter or digit at both ends"
            yield Violation(f"spec.template.namespaces[{n}]", name[:80], why, accepted)


def workspace_author_lacks(index: Index, who: Who, new: Workspace, old: Workspace | None) -> Steps:
    """Whoever makes a workspace becomes its admin and may choose a manager; later only who holds as much.

    The quota bounds its administrators, so they neither change it nor let the namespaces go out of it.
    """
    yield from moved_lacks(index, who, "workspace", new.metadata, old and old.metadata)
    before = old.spec.template.namespaces if old is not None else ()
    for name in set(new.spec.template.namespaces).difference(before):
        yield from namesakes_lack(index, who, name)
    if old is None:
        yield from waiting_lacks(index, who, "workspace", new.metadata)
        return
    if new.spec.manager and new.spec.manager != old.spec.manager:
        yield from manager_lacks(index, who, new.metadata)
    if new.spec.template.resource_quotas != old.spec.template.resource_quotas:
        why = f"{FIELD} bounds those who administer the workspace"
        yield from cluster_lacks(index, who, "workspaces", new.metadata, why)
    forced = new.metadata.annotations.get(FORCE_DELETE_ANNOTATION, "")
    if forced and forced != old.metadata.annotations.get(FORCE_DELETE_ANNOTATION, ""):
        why = "it lets the namespaces of the workspace go out of its quota"
        yield from cluster_lacks(index, who, "workspaces", new.metadata, why)


def namespace_author_lacks(index: Index, who: Who, new: Namespace, old: Namespace | None) -> Steps:
    yield from namespace_lacks(index, who, new.metadata, old and old.metadata)
    if old is None:
        yield from namesakes_lack(index, who, new.metadata.name)
