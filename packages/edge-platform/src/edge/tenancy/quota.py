"""How a workspace's quota is shared out over its namespaces, one safe step at a time (I15). Pure.

Kubernetes enforces a ResourceQuota per namespace, so each namespace of a workspace has one, and the sum of
what they allow never exceeds the workspace's total. What a namespace may come to at this moment is its
*claim*: the greatest of what its quota asks for, what is enforced (the quota controller follows a moment
later), and what it uses. A share grows only by what all claims leave of the total, so capacity is lent in two
phases: the lender's share is lowered, the lowering is seen enforced, then the borrower's share is raised. Any
part of a step may be carried out, in any order, and the sum still holds; nothing has to be remembered.

    total 10 pods   a: uses 2, share 5   b: uses 5, share 5
    step 1          a: share 4           b: share 5             b is full, a has room
    step 2          a: share 4           b: share 6             once the API server enforces 4 for a

Every namespace keeps room above what it uses, since a refused request leaves no trace in the quota. Amounts
are thousandths of a unit (`quantity`).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from edge.tenancy.quantity import PER_UNIT
from edge_kube.meta import Model

Amounts = Mapping[str, int]
"""Resource name to amount."""

BYTES_COARSE: Final = 1 << 30
BYTES_GRAIN: Final = 1 << 20


class Share(Model):
    """One namespace. hard: of our quota's spec, enforced: of its status; a resource not in it is not limited.

    used: what the quota controller counted; a resource not in it is not known yet. wants: room that somebody
    was refused there. order: higher for a namespace whose use has grown later. leaving: is being deleted.
    fixed: its quota is not ours to write.
    """

    hard: Mapping[str, int] = {}
    enforced: Mapping[str, int] = {}
    used: Mapping[str, int] = {}
    wants: Mapping[str, int] = {}
    order: int = 0
    leaving: bool = False
    fixed: bool = False


def next_step(total: Amounts, shares: Mapping[str, Share]) -> dict[str, dict[str, int]]:
    """Namespace → the whole new `hard` of its quota, for those that are to be written now.

    Carried out again and again, with use at rest, it comes to an end where nothing is to be written.
    """
    names = sorted(shares)
    ordered = [shares[name] for name in names]
    wanted: dict[str, dict[str, int]] = {name: {} for name in names}
    for resource, amount in total.items():
        for name, hard in zip(names, _step(resource, amount, ordered), strict=True):
            wanted[name][resource] = hard
    return {
        name: hard for name, hard in wanted.items() if not shares[name].fixed and hard != shares[name].hard
    }


def raises(before: Mapping[str, Share], step: Mapping[str, Amounts]) -> bool:
    """Whether a step lets any namespace have more than now: it must not be taken from an old view."""
    return any(
        amount > claim(before[name], resource)
        for name, hard in step.items()
        for resource, amount in hard.items()
    )


def claim(share: Share, resource: str) -> int:
    """What a namespace may come to without anybody writing its quota."""
    return max(share.hard.get(resource, 0), share.enforced.get(resource, 0), share.used.get(resource, 0))


def is_counted(share: Share, resource: str) -> bool:
    """Whether the namespace is limited and its use is known; before that it may hold anything."""
    return resource in share.enforced and resource in share.used and not share.fixed


def used(shares: Mapping[str, Share], resource: str) -> int:
    return sum(share.used.get(resource, 0) for share in shares.values())


def _step(resource: str, total: int, shares: Sequence[Share]) -> list[int]:
    """New share of each namespace for one resource; the present one where nothing is to change."""
    have = [share.hard.get(resource, 0) for share in shares]
    claims = [claim(share, resource) for share in shares]
    counted = all(is_counted(share, resource) for share in shares)
    base = [
        share.used.get(resource, 0) if is_counted(share, resource) else claimed
        for share, claimed in zip(shares, claims, strict=True)
    ]
    room = _room(resource, total - sum(base), base, shares)
    wants = [share.wants.get(resource, 0) for share in shares]
    if counted and _is_settled(total, have, base, room, wants):
        return have
    target = [own + more for own, more in zip(base, room, strict=True)]
    new = [min(now, goal) for now, goal in zip(have, target, strict=True)]
    left = total - sum(claims) if counted else 0
    for place in sorted(range(len(shares)), key=lambda one: have[one] - target[one]):
        # Up to the claim costs nothing; beyond it, only what all claims leave.
        more = max(0, min(target[place] - claims[place], left))
        left -= more
        if counted and target[place] > have[place]:
            new[place] = max(have[place], min(target[place], claims[place] + more))
    return new


def _is_settled(
    total: int, have: Sequence[int], base: Sequence[int], room: Sequence[int], wants: Sequence[int]
) -> bool:
    """Whether all have what they ask for and half of the room that is theirs.

    Not all of it, so that not each new pod moves every share.
    """
    if sum(have) > total and list(have) != list(base):
        return False
    return all(
        now - own >= min(more, max(want, more - more // 2))
        for now, own, more, want in zip(have, base, room, wants, strict=True)
    )


def _room(resource: str, free: int, base: Sequence[int], shares: Sequence[Share]) -> list[int]:
    """What each namespace may have above its use: first what was refused somewhere, the rest in equal parts.

    What cannot be divided goes to whoever has grown last: most likely they will ask again.
    """
    room = [0] * len(shares)
    order = sorted(
        (one for one in range(len(shares)) if not shares[one].leaving),
        key=lambda one: (-shares[one].order, -base[one], one),
    )
    if free <= 0 or not order:
        return room
    for one in sorted(order, key=lambda one: shares[one].wants.get(resource, 0)):
        more = min(shares[one].wants.get(resource, 0), free)
        if more == shares[one].wants.get(resource, 0):
            room[one] = more
            free -= more
    grain = _grain(resource, free // len(order))
    parts, rest = divmod(free, grain)
    each, extra = divmod(parts, len(order))
    for rank, one in enumerate(order):
        room[one] += each * grain + (grain if rank < extra else 0)
    room[order[0]] += rest
    return room


def _grain(resource: str, each: int) -> int:
    """Smallest amount handed out: a thousandth of a cpu, a byte, a piece; rounder where it is much."""
    if resource == "cpu" or resource.endswith(".cpu"):
        return 10 if each >= PER_UNIT else 1
    return BYTES_GRAIN * PER_UNIT if each >= BYTES_COARSE * PER_UNIT else PER_UNIT
