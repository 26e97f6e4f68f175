"""Who is calling: from a token to a user, with everything that may have changed since (I12, I16).

A token says only who signed in. Whether that user still exists, is enabled, has the same password and must
change it first is read from the watch-fed users at every request, so that all of it holds at once.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from edge.iam.accounts import DISABLED, is_disabled, must_change_password
from edge.iam.heartbeat import HEARTBEAT
from edge.iam.passwords import COST, cost_of
from edge.iam.tokens import LEEWAY_S, Claims, TokenRefused, Tokens
from edge.iam.types import User
from edge_kube.meta import Key
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.access import Caller
from edge_sdk.problem import Forbidden, NotAuthenticated

TOKENS_REMEMBERED = 10_000
SIGN_IN = "sign in again at /oauth/token and send the token as `Authorization: Bearer …`"

_USERS = ObjectDecoder(User)

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Session:
    """A caller that proved who they are. restricted: the password must be changed before anything is.

    cluster: the only one that a kubeconfig opens, by its Kubernetes API alone; "" for who signed in.
    sid: of who signed in.
    """

    caller: Caller
    restricted: bool
    is_admin: bool
    expires_s: float
    cluster: str = ""
    sid: str = ""


class SessionCheck(Protocol):
    """What is asked about the session of a token; `edge.apiserver.sessions.store.Sessions` is one."""

    def check(self, claims: Claims, user: User) -> None:
        """Raises NotAuthenticated unless it is live, and Unavailable while that is not known."""
        ...

    async def learn(self, claims: Claims) -> None:
        """Look for one that is so new that the watch may not have brought it."""
        ...


class ForeignTokens(Protocol):
    """Bearer tokens that somebody else has signed; `federation.accounts.ServiceAccounts` knows some."""

    def is_one(self, token: str) -> bool: ...
    async def admit(self, token: str, now_s: float) -> Session: ...
    def session(self, token: str, now_s: float) -> Session: ...


def own_groups(user: User) -> tuple[str, ...]:
    """Those of its object, without names of the system (R13)."""
    return tuple(group for group in user.spec.groups if not group.startswith("system:"))


class People:
    """Users, as the watch brings them."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._costs = Counter[int]()

    def user_changed(self, key: Key, raw: bytes | None) -> None:
        """A user that cannot be read counts as absent, and the log says so."""
        gone = self._users.pop(key.name, None)
        if gone is not None:
            self._costs[cost_of(gone.spec.encrypted_password)] -= 1
        if raw is None or key.name == HEARTBEAT:
            return
        try:
            user = self._users[key.name] = _USERS.decode(raw)
        except UndecodableError as error:
            log.warning("object_not_understood", name=key.name, error=str(error))
        else:
            self._costs[cost_of(user.spec.encrypted_password)] += 1

    @property
    def hashing_cost(self) -> int:
        """The highest bcrypt cost of all users, and not less than that of new passwords."""
        return max(COST, max((cost for cost, users in self._costs.items() if users > 0), default=COST))

    def user(self, name: str) -> User | None:
        return self._users.get(name)


class Authenticator:
    """From a bearer token to a Session. A token is verified once and then remembered by its hash."""

    def __init__(
        self,
        tokens: Tokens,
        people: People,
        is_admin: Callable[[str], bool],
        check_kubeconfig: Callable[[Claims, float], None],
        sessions: SessionCheck,
        foreign: ForeignTokens | None = None,
    ) -> None:
        """is_admin: whether the permission engine makes the user a platform administrator.

        check_kubeconfig: raises Problem unless the kubeconfig with these claims is still in force.
        """
        self._check_kubeconfig = check_kubeconfig
        self._sessions = sessions
        self._foreign = foreign
        self._tokens = tokens
        self._people = people
        self._is_admin = is_admin
        self._known: OrderedDict[bytes, Claims] = OrderedDict()

    def forget(self) -> None:
        """Check every signature anew: keys have changed."""
        self._known.clear()

    async def admit(self, token: str, now_s: float) -> Session:
        """As `session`, for a request: the token's session may have begun a moment ago elsewhere."""
        if self._foreign is not None and self._foreign.is_one(token):
            return await self._foreign.admit(token, now_s)
        claims = self._claims(token, now_s)
        if claims.sid:
            await self._sessions.learn(claims)
        return self.session(token, now_s)

    def session(self, token: str, now_s: float) -> Session:
        """Raises NotAuthenticated (401) with the reason, Unavailable (503) while it is not known."""
        if self._foreign is not None and self._foreign.is_one(token):
            return self._foreign.session(token, now_s)
        claims = self._claims(token, now_s)
        user = self._people.user(claims.user)
        if user is None or user.metadata.uid != claims.uid:
            raise _refused("token-revoked", "its user does not exist any more")
        if is_disabled(user):
            raise _refused(
                "account-disabled", f"the user is {DISABLED}: {user.status.reason or 'no reason given'}"
            )
        if claims.cluster:
            if self._tokens.password_mark(user.spec.encrypted_password) != claims.password_mark:
                raise _refused("token-revoked", "the password has been changed since")
            self._check_kubeconfig(claims, now_s)
        else:
            self._sessions.check(claims, user)
        return Session(
            caller=Caller(name=claims.user, uid=claims.uid, groups=own_groups(user)),
            restricted=must_change_password(user),
            is_admin=self._is_admin(claims.user),
            expires_s=claims.expires_s,
            cluster=claims.cluster,
            sid=claims.sid,
        )

    def _claims(self, token: str, now_s: float) -> Claims:
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._known.get(digest)
        if claims is not None and now_s < claims.expires_s + LEEWAY_S:
            return claims
        try:
            claims = self._tokens.check(token, now_s)
        except TokenRefused as error:
            raise _refused(error.code, str(error)) from None
        self._known[digest] = claims
        if len(self._known) > TOKENS_REMEMBERED:
            self._known.popitem(last=False)
        return claims


def change_password_first(user: str) -> Forbidden:
    return Forbidden(
        "password-change-required",
        what="Nothing was changed",
        why="your password was chosen by somebody else; until you change it, you may only read",
        do=f"PUT /oapis/iam.theriseunion.io/v1alpha1/users/{user}/password "
        'with {"currentPassword": …, "newPassword": …}',
    )


def _refused(code: str, why: str) -> NotAuthenticated:
    return NotAuthenticated(code, what="The token was refused", why=why, do=SIGN_IN)
