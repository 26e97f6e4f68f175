"""What belongs to a user, at …/me/WORD and …/users/NAME/WORD: whose is asked about, and may the caller."""

from edge.apiserver.callers.identity import Session, change_password_first
from edge.apiserver.paths import Resource
from edge.apiserver.rights.picture import Rights
from edge.iam.types import GROUP
from edge_sdk.access import Action
from edge_sdk.problem import Forbidden


def asked_about(resource: Resource, word: str, caller: str) -> tuple[str, str] | None:
    """(user, id) of what is asked about, id "" for all of them; None for paths about something else."""
    if resource.group != GROUP or resource.version != "v1alpha1" or resource.namespace:
        return None
    if resource.resource == "me" and resource.name == word and not resource.rest:
        return caller, resource.subresource
    if resource.resource == "users" and resource.subresource == word and len(resource.rest) <= 1:
        return resource.name, "".join(resource.rest)
    return None


def require_own_or_right(rights: Rights, session: Session, user: str, verb: str, word: str) -> None:
    """Raises Forbidden unless they are the caller's own, or the caller may."""
    if user == session.caller.name:
        return
    decision = rights.access.may(session.caller, Action(verb, GROUP, "users", word, name=user))
    if not decision.allowed:
        raise Forbidden(
            "forbidden",
            what=decision.reason,
            do=f"ask for your own at …/me/{word}, or ask a platform admin",
        )
    if session.restricted and verb == "delete":
        raise change_password_first(session.caller.name)
