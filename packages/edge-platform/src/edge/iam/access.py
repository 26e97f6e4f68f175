"""The permission engine as the gateway sees it: `edge_sdk.access.Access`, answered from the index.

Promise: a decision is only made while the picture of rights is fresh enough for it; otherwise Unavailable
(503) is raised. The reason of a denial is the sentence for the 403. Source: I4, I6; design §3, §8.1.
"""

from edge.iam.explain import Question, in_words, nearest
from edge.iam.facts import MOVABLE
from edge.iam.freshness import Freshness
from edge.iam.index import Index
from edge.iam.ofscope import may
from edge.iam.questions import as_held
from edge.iam.scope import HOST, parse_scope, scope_text
from edge_sdk.access import Action, Caller, Decision
from edge_sdk.scopes import IAM_GROUP


class IndexAccess:
    def __init__(self, index: Index, freshness: Freshness) -> None:
        self._index = index
        self._freshness = freshness

    def may(self, caller: Caller, action: Action) -> Decision:
        """Raises Unavailable where roles and bindings are not known well enough for this request."""
        self._freshness.require(action.verb)
        return self.decide(caller, action)

    def decide(self, caller: Caller, action: Action) -> Decision:
        """By what is known, however old: for what is under way already."""
        if action.path:
            allowed = self._index.check_url(caller.name, action.verb, action.path)
            return Decision(allowed, _sentence(caller, action, "the platform", allowed))
        named = (action.scope, action.within) if action.within else (action.scope,)
        scopes = [key for one in named if (key := self.scope_of(one)) is not None]
        if not scopes:
            reason = f'User "{caller.name}" cannot {action.verb}: {action.scope!r} names no scope'
            return Decision(allowed=False, reason=reason)
        verb, resource = _asked(caller, action)
        allowed = any(
            may(self._index, caller.name, scope, verb, action.group, resource, action.name)
            for scope in scopes
        )
        return Decision(allowed, _sentence(caller, action, scope_text(scopes[0]), allowed))

    def why(self, caller: Caller, action: Action) -> str:
        """The nearest grant that allows it, in words; "" where there is none."""
        if action.path:
            named, question = ("platform",), Question(action.verb, path=action.path)
        else:
            verb, resource = _asked(caller, action)
            named = (action.scope, action.within) if action.within else (action.scope,)
            question = Question(verb, action.group, resource, action.name)
        for scope in filter(None, map(self.scope_of, named)):
            asked = as_held(self._index, caller.name, scope, question)
            if (grant := nearest(self._index, caller.name, scope, asked)) is not None:
                return in_words(grant)
        return ""

    def scope_of(self, scope: str) -> str | None:
        """The key of an action's scope; None for a scope nobody knows the type of.

        Workspaces and node groups of every cluster have their objects on the host, so a scope that is named
        without a cluster is looked for where its object says it is.
        """
        scopes = self._index.scopes
        kind, _, name = scope.partition("/")
        if kind in MOVABLE:
            home = scopes.homes.get((kind, name), HOST)
            if home != HOST:
                return parse_scope(f"cluster/{home}/{scope}", scopes.registered)
        return parse_scope(scope, scopes.registered)


def _asked(caller: Caller, action: Action) -> tuple[str, str]:
    """Verb and resource as the rules name them.

    Everybody holds `users/password` for the sake of their own; anybody else's password is an update of that
    user (upstream §4.4).
    """
    password = (action.group, action.resource, action.subresource) == (IAM_GROUP, "users", "password")
    if password and action.name != caller.name:
        return "update", "users"
    sub = f"/{action.subresource}" if action.subresource else ""
    return action.verb, f"{action.resource}{sub}"


def _sentence(caller: Caller, action: Action, scope: str, allowed: bool) -> str:
    """As Kubernetes says it, with the scope that was asked at."""
    if action.path:
        what = f'path "{action.path}"'
    else:
        sub = f"/{action.subresource}" if action.subresource else ""
        named = f' "{action.name}"' if action.name else ""
        what = f'resource "{action.resource}{sub}"{named} in API group "{action.group}"'
    can = "can" if allowed else "cannot"
    return f'User "{caller.name}" {can} {action.verb} {what} at {scope}'
