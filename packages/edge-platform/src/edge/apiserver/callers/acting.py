"""`--as NAME`: who may `impersonate` a user is answered as that user (design §8.1, step 8).

    Impersonate-User: bob    `impersonate` on users "bob" is needed at the platform; then bob's rights decide

Leave to act as anybody gives nobody more than they hold themselves: for that, a role must name the user.
Groups follow from the User object and are taken from nobody's word. No such header reaches an upstream (S2):
who is named there is the user that was decided for.
"""

from collections.abc import Callable, Set
from typing import Final

from multidict import CIMultiDictProxy

from edge.apiserver.callers.identity import People, Session, change_password_first, own_groups
from edge.apiserver.paths import Resource
from edge.iam.access import IndexAccess
from edge.iam.accounts import DISABLED, is_disabled, must_change_password
from edge.iam.escalation import takeover_lacks
from edge.iam.index import Index
from edge.iam.types import GROUP
from edge_sdk.access import Action, Caller, Decision
from edge_sdk.problem import Forbidden, Problem

USER: Final = "impersonate-user"
PREFIX: Final = "impersonate-"
NAME_MAX: Final = 253
PERSONAL: Final = frozenset({"password", "sessions", "kubeconfigs"})
WORDS_TO_SAY: Final = "name one user by `kubectl --as NAME`, and nothing else"


def wanted_user(headers: CIMultiDictProxy[str], names: Set[str]) -> str:
    """Whom the caller wants to act as; "" for a request that asks for nobody.

    names: of all headers, in small letters.
    Raises Problem (400) for what has two readings, Forbidden for what follows from the User object.
    """
    if PREFIX not in " ".join(names):  # of almost all requests
        return ""
    found = {name for name in names if name.startswith(PREFIX)}
    if not found:
        return ""
    more = sorted(found - {USER})
    if more:
        raise Forbidden(
            "impersonation-of-more",
            what=f"The request was refused for its header {more[0][:80]}",
            why="groups and all else about a user follow from the User object",
            do=WORDS_TO_SAY,
        )
    users = [name.strip() for name in headers.getall(USER)]
    dropped = ",".join(headers.getall("Connection", ())).lower()
    if len(users) > 1 or not users[0] or USER in dropped:
        raise Problem(
            "bad-header",
            what="The request was not understood",
            why="its header Impersonate-User is empty, is there twice, or is named in Connection",
            do=WORDS_TO_SAY,
        )
    return users[0]


def question(name: str) -> Action:
    return Action("impersonate", resource="users", name=name)


def require_impersonal(resource: Resource) -> None:
    """Raises Forbidden for what would hand out a way to sign in, or end one, in somebody else's name."""
    if resource.group != GROUP:
        return
    word = resource.name if resource.resource == "me" else resource.subresource
    if word in PERSONAL or resource.resource == "oauthclients":
        raise not_for_others(f"{resource.resource}/{word}".rstrip("/"))


def not_for_others(what: str) -> Forbidden:
    return Forbidden(
        "not-as-somebody-else",
        what=f"{what} was refused to who acts as somebody else",
        why="passwords, sessions, kubeconfigs and clients are a way to sign in: they are everybody's own",
        do="ask without --as",
    )


class Acting:
    def __init__(
        self, people: People, access: IndexAccess, index: Index, is_admin: Callable[[str], bool]
    ) -> None:
        """is_admin: as the Authenticator asks it."""
        self._people = people
        self._index = index
        self._access = access
        self._is_admin = is_admin

    def begin(self, own: Session, name: str) -> Session:
        """The user `name` as a caller, for as long as `own`, which asks for it, and where that one may go.

        Raises Forbidden, the same whether there is such a user or not to who may not act as them; Unavailable
        (503) while rights are not known to be new.
        """
        return self._session(own, name, self._access.may)

    def go_on(self, own: Session, name: str) -> Session:
        """As `begin`, by what is known, however old: of what is under way."""
        return self._session(own, name, self._access.decide)

    def _session(self, own: Session, name: str, ask: Callable[[Caller, Action], Decision]) -> Session:
        if own.restricted:
            raise change_password_first(own.caller.name)
        if name.startswith("system:"):
            raise _refused(name, "it is a name of the system or a service account, and no User")
        decision = ask(own.caller, question(name))
        if not decision.allowed:
            raise Forbidden(
                "forbidden",
                what=decision.reason,
                do="ask without --as, or ask a platform admin for a role that has this right",
            )
        user = self._people.user(name)
        if user is None:
            raise _refused(name, "there is no such user")
        if is_disabled(user):
            raise _refused(name, f"the user is {DISABLED}")
        if ask(
            own.caller, question("")
        ).allowed:  # not of this user by name: roles for managing users say "*"
            lack = next(filter(None, takeover_lacks(self._index, own.caller.name, user)), None)
            if lack is not None:
                raise Forbidden(
                    "cannot-act-as",
                    what=f'"{own.caller.name}" may not act as "{name}"',
                    why=lack.text,
                    do="ask a platform admin for a role that names this user in resourceNames",
                )
        return Session(
            caller=Caller(name=name, uid=user.metadata.uid, groups=own_groups(user)),
            restricted=must_change_password(user),
            is_admin=self._is_admin(name),
            expires_s=own.expires_s,
            cluster=own.cluster,
        )


def _refused(name: str, why: str) -> Forbidden:
    return Forbidden(
        "cannot-act-as",
        what=f'Nobody acts as "{name[:NAME_MAX]}"',
        why=why,
        do="name a User that is enabled",
    )
