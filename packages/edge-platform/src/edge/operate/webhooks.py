"""Admission of ReverseProxies: what could never work, and what its author may not have the gateway reach.

Source: G5, S17; design authorization-and-gateway §8.6.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from edge.iam.escalation import Lack
from edge.iam.index import Index, Who
from edge.iam.scope import PLATFORM
from edge.operate.matching import is_api, match_of
from edge.operate.rules import is_external, wrong_with
from edge.operate.types import ReverseProxy
from edge_sdk.problem import Violation
from edge_sdk.scopes import IAM_GROUP

EXTERNAL: Final = "reverseproxies/external"


def check_reverse_proxy(new: ReverseProxy, old: ReverseProxy | None) -> Sequence[Violation]:
    """An unchanged spec is never judged anew: an older object must keep taking labels."""
    if old is not None and old.spec == new.spec:
        return ()
    return wrong_with(new.spec)


def reverse_proxy_author_lacks(
    index: Index, who: Who, new: ReverseProxy, old: ReverseProxy | None
) -> Iterator[Lack]:
    """The gateway stands where its callers do not: beyond a namespace it needs a right of its own.

    Any change of such an object does: the path decides as much as the host about what is reached. And of two
    objects with one path the older is served, so that none may move to a path that others came to before it.
    """
    if old is not None and old.spec == new.spec:
        return
    if index.check(who, PLATFORM, "create", IAM_GROUP, EXTERNAL):
        return
    needs = f"it needs create on {EXTERNAL} at platform"
    if is_external(new):
        own = f"NAME.{new.metadata.namespace}.svc"
        text = f'the upstream "{new.spec.upstream.host}" is no Service of its own namespace ({own}); {needs}'
        yield Lack(text, "escalate")
    match = match_of(new)
    if match is not None and is_api(match):
        text = f"the path {new.spec.matcher.path} looks like a part of the platform's API; {needs}"
        yield Lack(text, "escalate")
    if old is not None and old.spec.matcher != new.spec.matcher:
        yield Lack(
            f"an object keeps its path and method; make another one for another path, or {needs}", "escalate"
        )
