"""What the permission engine is asked about a request, and what its answer comes to (I4, I9, S10).

    action, named = decider.placed(action_of(method, resource, target), resource, cluster="")
    decider.require(session, action, method, named_scope=named)        # Forbidden says which right is missing

The same for a request and for the question whether one would be let through.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from edge.apiserver.callers.identity import Session, change_password_first
from edge.apiserver.mirrors.store import Collection
from edge.apiserver.paths import Resource, Target, also_needed, native_segments
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rights.places import place_of, place_of_new
from edge.iam.patterns import path_of
from edge.iam.questions import sees_scope
from edge.iam.scope import scope_text
from edge_kube.meta import Key
from edge_sdk.access import Action, Caller, Decision
from edge_sdk.problem import Forbidden

READ_VERBS: Final = frozenset({"get", "list", "watch"})
OWN_QUESTIONS: Final = frozenset(
    {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}
)
OWN_GROUPS: Final = frozenset({"authorization.k8s.io", "authentication.k8s.io"})
MADE_IN_SCOPES: Final = frozenset({"iamroles", "iamrolebindings", "nodegroups", "namespaces"})
APPLIED_IN_SCOPES: Final = frozenset({"iamroles", "iamrolebindings"})
"""Of these also what a server-side apply makes."""
KUBERNETES_ROOTS: Final = frozenset({"api", "apis", "openapi", "version", "healthz", "livez", "readyz"})
"""What is asked of a Kubernetes API. Whether it is healthy, of a member alone: here that is our own path."""


class _Labels(msgspec.Struct):
    labels: dict[str, str] = {}


class _Brought(msgspec.Struct):
    metadata: _Labels = msgspec.field(default_factory=_Labels)


class Decider:
    def __init__(self, rights: Rights, collections: Mapping[tuple[str, str], Collection]) -> None:
        self._access = rights.access
        self._index = rights.index
        self._collections = collections

    def placed(
        self, named: Action, resource: Resource, cluster: str, new: Mapping[str, str] | None = None
    ) -> tuple[Action, str]:
        """The action at the scope that its object is in, and the scope that the path itself names.

        new: labels of an object that the request brings along, which counts where there is none yet.
        """
        itself = self._in_pattern(named, resource, cluster).scope
        labelled = self._labelled(named, cluster, new or {})
        return self._in_pattern(labelled, resource, cluster), itself

    def require(self, session: Session, action: Action, method: str, *, named_scope: str) -> None:
        """Raises Forbidden with the sentence that says which right is missing; Unavailable."""
        if not for_everybody(action, method):
            for one in _needed(action, method):
                decision = self._access.may(session.caller, one)
                if not decision.allowed:
                    raise self._refusal(session.caller, one, named_scope, decision)
        reads = action.verb in READ_VERBS or (bool(action.path) and method in ("GET", "HEAD"))
        if session.restricted and not reads and action.resource not in OWN_QUESTIONS:
            raise change_password_first(session.caller.name)

    def holds(self, session: Session, action: Action, method: str) -> bool:
        """Whether it would be let through by what is known, however old."""
        if for_everybody(action, method):
            return True
        return all(self._access.decide(session.caller, one).allowed for one in _needed(action, method))

    def _labelled(self, action: Action, cluster: str, new: Mapping[str, str]) -> Action:
        """Roles and bindings are asked about at the scope they are for, which their labels tell."""
        collection = self._collections.get((action.group, action.resource))
        if cluster or collection is None or action.namespace:
            return action
        stored = collection.get(Key("", action.name)) if action.name else None
        if stored is None:
            return self._to_be_made(action, new)
        if action.scope != "platform":
            return action
        place = place_of(action.group, action.resource, self._index.scopes.homes)
        key = place(stored.key, stored.labels)
        # Of a scope type that is registered no longer, or not yet: the platform's, as before it was labelled.
        return replace(action, scope=scope_text(key)) if self._index.scopes.is_typed(key) else action

    def _to_be_made(self, action: Action, labels: Mapping[str, str]) -> Action:
        """What somebody makes in their own scope is for that scope to allow, where there is one."""
        made = MADE_IN_SCOPES if action.verb == "create" else APPLIED_IN_SCOPES
        if action.verb not in ("create", "patch") or action.subresource or action.resource not in made:
            return action
        key = place_of_new(action.group, action.resource, labels, self._index.scopes.homes)
        known = key is not None and self._index.scopes.knows(key)
        return replace(action, scope=scope_text(key)) if key is not None and known else action

    def _in_pattern(self, action: Action, resource: Resource, cluster: str) -> Action:
        """A path that a ScopePattern stands for is asked about at the scope that it names (I9)."""
        registered = self._index.scopes.registered
        if not registered.about(resource.group, resource.resource):
            return action
        path = path_of(cluster, native_segments(resource))
        key = registered.scope(resource.group, resource.resource, path)
        return action if key is None else replace(action, scope=scope_text(key), within=action.scope)

    def _refusal(self, caller: Caller, action: Action, named_scope: str, decision: Decision) -> Forbidden:
        """Where an object is, and so that there is one, is told to nobody who has no business there (S10)."""
        key = self._access.scope_of(action.scope)
        moved = bool(named_scope) and action.scope != named_scope
        if moved and key and not sees_scope(self._index, caller.name, key):
            action = replace(action, scope=named_scope, within="")
            decision = self._access.decide(caller, action)
        return _forbidden(action, decision.reason)


def tells_its_scope(method: str, target: Target) -> bool:
    """Whether the body of a request decides at which scope it is asked about."""
    if method == "POST":
        return target.segments[-1:] != () and target.segments[-1] in MADE_IN_SCOPES
    return method == "PATCH" and len(target.segments) > 1 and target.segments[-2] in APPLIED_IN_SCOPES


def labels_in(body: bytes | None) -> Mapping[str, str]:
    """Of an object in JSON, as clients send what they make; none for anything else."""
    try:
        return msgspec.json.decode(body or b"", type=_Brought).metadata.labels
    except msgspec.MsgspecError:
        return {}


def is_in_scopes_name(action: Action, named_scope: str) -> bool:
    """Whether the caller may do it at a scope of the object's own, which native RBAC cannot say."""
    return action.resource in MADE_IN_SCOPES and bool(named_scope) and action.scope != named_scope


def for_everybody(action: Action, method: str) -> bool:
    """What every signed-in caller may ask, as in Kubernetes: which kinds there are, and one's own rights."""
    if action.path:
        return method in ("GET", "HEAD") and action.path[1:].partition("/")[0] in KUBERNETES_ROOTS
    return action.resource in OWN_QUESTIONS and action.verb == "create" and action.group in OWN_GROUPS


def _needed(action: Action, method: str) -> tuple[Action, ...]:
    second = also_needed(method, action)
    return (action,) if second is None else (action, second)


def _forbidden(action: Action, reason: str) -> Forbidden:
    narrower = "ask in a namespace where you have it, or " if action.verb in ("list", "watch") else ""
    ask = f"{narrower}ask whoever administers that scope for a role that has this right"
    params = {"verb": action.verb, "resource": action.resource or action.path, "scope": action.scope}
    return Forbidden("forbidden", what=reason, do=ask, params=params)
