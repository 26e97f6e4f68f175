"""What a room imports of the runtime: the words of a reconciler, nothing that opens a socket by itself."""

from edge_kube.conditions import condition, is_true, set_condition
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

__all__ = [
    "DONE",
    "Index",
    "MemberWatch",
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
    "is_true",
    "set_condition",
]
