"""Between objects and shares: what a workspace's quota asks for, and what its namespaces have. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from edge.tenancy.plan import shown
from edge.tenancy.quantity import PER_UNIT, BadQuantity, at_least, at_most, parse, text_of
from edge.tenancy.quota import Amounts, Share, is_counted, used
from edge.tenancy.types import Workspace, WorkspaceQuota
from edge_kube.core import Deployment, Namespace, ResourceQuota
from edge_kube.meta import Condition, Manifest, Model, kind_of
from edge_kube.runtime import owner_labels
from edge_sdk.problem import Violation
from edge_sdk.scopes import OWNER_KIND_LABEL, OWNER_NAME_LABEL

QUOTA_NAME: Final = "edge-workspace"
FIELD: Final = "spec.template.resourceQuotas"
WITHIN_QUOTA: Final = "WithinQuota"

WHOLE: Final = frozenset(
    {
        *("pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps"),
        *("persistentvolumeclaims", "services.nodeports", "services.loadbalancers"),
    }
)
MEASURED: Final = frozenset(
    {
        *("cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage"),
        *("requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage"),
    }
)
_OTHERS: Final = re.compile(
    r"count/[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
    r"|(requests\.)?hugepages-[0-9]+[KMG]i"
    r"|requests\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
    r"|[a-z0-9]([-a-z0-9.]*[a-z0-9])?\.storageclass\.storage\.k8s\.io/(requests\.storage|persistentvolumeclaims)"
)
NAMES_ACCEPTED: Final = (
    "a resource that Kubernetes counts: cpu, memory, requests.cpu, limits.memory, pods, requests.storage, "
    "count/deployments.apps, requests.nvidia.com/gpu, …"
)
REFUSED_ANNOTATION: Final = "theriseunion.io/refused-requests"
"""On a share: what was refused there for want of quota, resource=quantity, comma-separated."""
TERM_ANNOTATION: Final = "theriseunion.io/share-term"
"""On a share: whose turn of writing it belongs to; see `QuotaKeeper`."""
_REFUSED: Final = re.compile(rf"exceeded quota: {QUOTA_NAME}, requested: (?P<items>\S+), used: ")


def is_ours(quota: ResourceQuota) -> bool:
    return quota.metadata.labels.get(OWNER_KIND_LABEL) == kind_of(Workspace).kind


def workspace_named(quota: ResourceQuota) -> str:
    """The workspace whose share a quota is; "" for quotas of others."""
    named = quota.metadata.name == QUOTA_NAME and is_ours(quota)
    return quota.metadata.labels.get(OWNER_NAME_LABEL, "") if named else ""


def quota_violations(quotas: Mapping[str, str]) -> Iterator[Violation]:
    """What the API server would refuse, or silently not count, in a ResourceQuota."""
    for name, text in quotas.items():
        field = f"{FIELD}[{name}]"
        if name not in WHOLE and name not in MEASURED and not _OTHERS.fullmatch(name):
            yield Violation(field, name, "no quota of this name is enforced", NAMES_ACCEPTED)
        try:
            amount = parse(text)
        except BadQuantity as error:
            yield Violation(field, text, str(error), ("500m", "4", "10Gi"))
            continue
        if amount < 0:
            yield Violation(field, text, "is negative", "0 or more")
        elif name not in MEASURED and amount.denominator != 1:
            yield Violation(field, text, "is no whole number, and this resource is counted", "a whole number")


def totals(workspace: Workspace) -> dict[str, int]:
    """The quota of a workspace. Entries that admission would refuse are left out: `quota_violations`."""
    found: dict[str, int] = {}
    for name, text in workspace.spec.template.resource_quotas.items():
        if any(quota_violations({name: text})):
            continue
        amount = at_most(text)
        found[name] = amount if name.endswith("cpu") else amount // PER_UNIT * PER_UNIT
    return found


def share_of(namespace: Namespace, quota: ResourceQuota | None, order: int = 0) -> Share | None:
    """What is known of a namespace; None for one that goes and has no quota: nothing is made in it."""
    leaving = bool(namespace.metadata.deletion_timestamp)
    if quota is None:
        return None if leaving else Share(order=order)
    return Share(
        hard=amounts_of(quota.spec.hard),
        enforced=amounts_of(quota.status.hard),
        used=amounts_of(quota.status.used),
        wants=_listed(quota.metadata.annotations.get(REFUSED_ANNOTATION, "")),
        order=order,
        leaving=leaving,
        fixed=not is_ours(quota),
    )


def refused_in(deployments: Iterable[Deployment]) -> str:
    """The largest request that our quota refused in a namespace, as its Deployments tell: "pods=1,cpu=2".

    A refused request leaves no trace in a quota; Deployments say which pods they could not make.
    """
    found: dict[str, int] = {}
    for deployment in deployments:
        for name, amount in _listed(_refusal(deployment)).items():
            found[name] = max(found.get(name, 0), amount)
    return ",".join(f"{name}={text_of(amount)}" for name, amount in sorted(found.items()))


def tells_of_refusal(deployment: Deployment) -> bool:
    return bool(_refusal(deployment))


def _refusal(deployment: Deployment) -> str:
    for one in deployment.status.conditions:
        match = _REFUSED.search(one.message) if one.type == "ReplicaFailure" else None
        if match is not None and one.status == "True":
            return match["items"]
    return ""


def _listed(items: str) -> dict[str, int]:
    """From "cpu=2,pods=1"."""
    pairs = (item.partition("=") for item in items.split(","))
    return amounts_of({name: text for name, _, text in pairs})


def quota_manifest(workspace: Workspace, namespace: str, hard: Amounts, term: str) -> Manifest:
    kind = kind_of(ResourceQuota)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": QUOTA_NAME,
            "namespace": namespace,
            "labels": owner_labels(workspace),
            "annotations": {TERM_ANNOTATION: term},
        },
        "spec": {"hard": {name: text_of(amount) for name, amount in hard.items()}},
    }


def quota_patch(workspace: Workspace, quota: ResourceQuota, hard: Amounts, term: str) -> Manifest:
    """Merge patch to a new share; resources that the workspace no longer limits go."""
    gone = {name: None for name in quota.spec.hard if name not in hard}
    return {
        "metadata": {
            "labels": owner_labels(workspace),
            "annotations": {TERM_ANNOTATION: term},
            "uid": quota.metadata.uid,
        },
        "spec": {"hard": {**{name: text_of(amount) for name, amount in hard.items()}, **gone}},
    }


class Told(Model):
    """What a workspace's status says of its quota."""

    figures: WorkspaceQuota
    condition: Condition | None


NOTHING: Final = Told(figures=WorkspaceQuota(), condition=None)


def tell(workspace: Workspace, shares: Mapping[str, Share]) -> Told:
    """Figures and condition; nothing for a workspace without quota."""
    if not workspace.spec.template.resource_quotas:
        return NOTHING
    total = totals(workspace)
    figures = WorkspaceQuota(
        hard={name: text_of(amount) for name, amount in total.items()},
        used={name: text_of(used(shares, name)) for name in total},
    )
    return Told(figures=figures, condition=_judge(workspace, total, shares))


def out_of_reach(workspace: Workspace, cluster: str, why: str) -> Told:
    """The figures as they were: what is used in a cluster that does not answer is not known."""
    if not workspace.spec.template.resource_quotas:
        return NOTHING
    message = (
        f"Cluster {cluster} does not answer ({why}), so what is used there is not known. It enforces the "
        "shares that its namespaces have; none gets more until it answers."
    )
    found = _condition(workspace, "Unknown", "ClusterUnreachable", message)
    return Told(figures=workspace.status.quota, condition=found)


def _judge(workspace: Workspace, total: Amounts, shares: Mapping[str, Share]) -> Condition:
    bad = [str(one) for one in quota_violations(workspace.spec.template.resource_quotas)]
    if bad:
        return _condition(workspace, "False", "BadQuota", "; ".join(bad))
    taken = [name for name, one in shares.items() if one.fixed]
    if taken:
        return _condition(
            workspace, "False", "QuotaNameTaken",
            f"Namespaces {shown(taken)} have a ResourceQuota {QUOTA_NAME} that is not the platform's, so the "
            "workspace's quota is not kept there, and no namespace gets more. Give it another name.",
        )  # fmt: skip
    over = [
        f"{name}: {text_of(used(shares, name))} used of {text_of(amount)}"
        for name, amount in total.items()
        if used(shares, name) > amount
    ]
    if over:
        return _condition(
            workspace, "False", "QuotaExceeded",
            f"{'; '.join(over)}. Nothing new is let in for it before use is below the quota: remove what is "
            f"not needed, or raise {FIELD}.",
        )  # fmt: skip
    waiting = [name for name, one in shares.items() if not all(is_counted(one, each) for each in total)]
    if waiting:
        why = f"what namespaces {shown(waiting)} use is not counted yet; until then no namespace gets more"
        return _condition(workspace, "Unknown", "Counting", why)
    return _condition(workspace, "True", "InPlace", "")


def amounts_of(quantities: Mapping[str, str]) -> dict[str, int]:
    """Rounded up: what is used or lent must not seem less. A text nobody can read is no amount."""
    found: dict[str, int] = {}
    for name, text in quantities.items():
        try:
            found[name] = at_least(text)
        except BadQuantity:
            continue
    return found


def _condition(workspace: Workspace, status: str, reason: str, message: str) -> Condition:
    return Condition(
        type=WITHIN_QUOTA,
        status=status,
        reason=reason,
        message=message,
        observed_generation=workspace.metadata.generation,
    )
