"""What Helm has recorded of a release, and what follows from it. Pure: the recovery table as a function.

Only used when no live lock holder exists: a release that another process is working on is left alone.
"""

from collections.abc import Sequence
from typing import Literal

from edge_kube.meta import Model

DEPLOYED = "deployed"
FAILED = "failed"
_GOOD = {DEPLOYED, "superseded"}

Verb = Literal["upgrade", "rollback", "uninstall", "none"]


class Revision(Model):
    """One revision, as the labels of its Secret tell it. mark, hash: ours, or "" on foreign ones."""

    number: int
    status: str
    mark: str = ""
    hash: str = ""
    modified_at_s: int = 0


class Recovery(Model):
    """upgrade means install or upgrade. to: revision of a rollback. interrupted: a process was cut off."""

    verb: Verb
    to: int = 0
    interrupted: bool = False


def newest(history: Sequence[Revision]) -> Revision | None:
    return max(history, key=lambda revision: revision.number, default=None)


def last_good(history: Sequence[Revision]) -> Revision | None:
    """The newest revision that once worked, the current one left out."""
    current = newest(history)
    good = [r for r in history if r.status in _GOOD and r is not current]
    return newest(good)


def recover(history: Sequence[Revision]) -> Recovery:
    """What has to be done before, or instead of, an ordinary upgrade.

    upgrade: nothing stands in the way. none: the newest revision is deployed. failed releases answer
    upgrade, too: whether to roll back first is a matter of policy, decided in `plan`.
    """
    current = newest(history)
    if current is None or current.status == "uninstalled":
        return Recovery(verb="upgrade")
    if current.status == DEPLOYED:
        return Recovery(verb="none")
    if current.status in ("uninstalling", "pending-install"):
        return Recovery(verb="uninstall", interrupted=True)
    if current.status in ("pending-upgrade", "pending-rollback"):
        good = last_good(history)
        if good is None:  # a failed install, then a killed upgrade on top of it: nothing to return to
            return Recovery(verb="uninstall", interrupted=True)
        return Recovery(verb="rollback", to=good.number, interrupted=True)
    return Recovery(verb="upgrade")
