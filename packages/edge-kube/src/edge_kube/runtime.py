"""What a room imports of the runtime: the words of a reconciler, nothing that opens a socket by itself."""

from edge_kube.conditions import condition, is_true, set_condition
from edge_kube.metrics import Measure
from edge_kube.ownership import drop_finalizer, ensure_finalizer, own, owner_labels
from edge_kube.reconcile import (
    DONE,
    Index,
    MemberWatch,
    Reader,
    Reconciler,
    ReconcilerFactory,
    Request,
    Result,
    Stalled,
    TerminalError,
    Waiting,
    Watch,
    Writer,
)
from edge_kube.webhook import Author, NotNow

__all__ = [
    "DONE",
    "Author",
    "Index",
    "Measure",
    "MemberWatch",
    "NotNow",
    "Reader",
    "Reconciler",
    "ReconcilerFactory",
    "Request",
    "Result",
    "Stalled",
    "TerminalError",
    "Waiting",
    "Watch",
    "Writer",
    "condition",
    "drop_finalizer",
    "ensure_finalizer",
    "is_true",
    "own",
    "owner_labels",
    "set_condition",
]
