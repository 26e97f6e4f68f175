"""One step of a Component: what the plan decided, and what people are told of it."""

from typing import Literal

from edge.components.types import GROUP, Component
from edge_kube.meta import Model
from edge_sdk.scopes import FORCE_DELETE_ANNOTATION

RETRY_ANNOTATION = f"{GROUP}/retry"
SKIP_ANNOTATION = f"{GROUP}/skip-reconcile"

Verb = Literal["none", "upgrade", "rollback", "uninstall", "finish"]


class Step(Model):
    """verb: the one thing to do; upgrade means install or upgrade, finish means: take the finalizer off.

    revision: of a rollback. is_good: what runs is what was asked for, and it is healthy. is_removed: nothing
    of ours is installed. unhealthy: the rollback is because workloads did not get ready. after_s: look again.
    """

    phase: str
    reason: str
    message: str
    verb: Verb = "none"
    revision: int = 0
    ready: bool = False
    progressing: bool = False
    degraded: bool = False
    stalled: bool = False
    by_hand: bool = False
    is_good: bool = False
    is_removed: bool = False
    unhealthy: bool = False
    after_s: float | None = None


def retry_token(component: Component) -> str:
    """What an attempt was made for: a changed spec, or any new value of the annotation, is a new start."""
    return f"{component.metadata.generation}:{component.metadata.annotations.get(RETRY_ANNOTATION, '')}"


def is_forced_away(component: Component) -> bool:
    """Let go by a person, its release left behind; the uid shows that they mean this very one (R4)."""
    metadata = component.metadata
    return bool(metadata.deletion_timestamp) and (
        metadata.annotations.get(FORCE_DELETE_ANNOTATION) == metadata.uid
    )
