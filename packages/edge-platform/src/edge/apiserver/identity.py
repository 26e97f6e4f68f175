"""Who is calling: from a token to a user, with everything that may have changed since (I12, I16).

A token says only who signed in. Whether that user still exists, is enabled, has the same password and must
change it first is read from the watch-fed users at every request, so that all of it holds at once.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from edge.iam.accounts import DISABLED, is_disabled, must_change_password
from edge.iam.firstadmin import ADMIN_ROLE
from edge.iam.tokens import Claims, TokenRefused, Tokens
from edge.iam.types import IAMRoleBinding, User
from edge_kube.meta import Key, Resource
from edge_kube.wire import ObjectDecoder, UndecodableError
from edge_sdk.access import Action, Caller, Decision
from edge_sdk.problem import NotAuthenticated
from edge_sdk.scopes import IAM_SCOPE_LABEL

TOKENS_REMEMBERED = 10_000
SIGN_IN = "sign in again at /oauth/token and send the token as `Authorization: Bearer …`"

T = TypeVar("T", bound=Resource)
_USERS = ObjectDecoder(User)
_BINDINGS = ObjectDecoder(IAMRoleBinding)

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(frozen=True, slots=True)
class Session:
    """A caller that proved who they are. restricted: the password must be changed before anything is."""

    caller: Caller
    restricted: bool
    is_admin: bool
    expires_s: float


class People:
    """Users and bindings, as the watches bring them."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._bindings: dict[str, IAMRoleBinding] = {}
        self._admins: frozenset[tuple[str, str]] | None = None

    def user_changed(self, key: Key, raw: bytes | None) -> None:
        _keep(self._users, _USERS, key, raw)

    def binding_changed(self, key: Key, raw: bytes | None) -> None:
        self._admins = None
        _keep(self._bindings, _BINDINGS, key, raw)

    def user(self, name: str) -> User | None:
        return self._users.get(name)

    def is_admin(self, user: User) -> bool:
        """Whether the user, or a group of theirs, is bound to platform-admin at platform scope."""
        if self._admins is None:
            self._admins = admins_of(self._bindings)
        subjects = [("User", user.metadata.name)]
        subjects += [("Group", group) for group in user.spec.groups if not group.startswith("system:")]
        return not self._admins.isdisjoint(subjects)


def _keep(known: dict[str, T], decoder: ObjectDecoder[T], key: Key, raw: bytes | None) -> None:
    """An object that cannot be read gives no right: it counts as absent, and the log says so."""
    known.pop(key.name, None)
    if raw is None:
        return
    try:
        known[key.name] = decoder.decode(raw)
    except UndecodableError as error:
        log.warning("object_not_understood", name=key.name, error=str(error))


def admins_of(bindings: Mapping[str, IAMRoleBinding]) -> frozenset[tuple[str, str]]:
    """(kind, name) of all subjects of platform bindings to the admin role."""
    return frozenset(
        (subject.kind, subject.name)
        for binding in bindings.values()
        if binding.metadata.labels.get(IAM_SCOPE_LABEL) == "platform"
        and binding.metadata.deletion_timestamp == ""
        and binding.spec.role_ref.name == ADMIN_ROLE
        for subject in binding.spec.subjects
    )


class AdminsOnly:
    """Access until the permission engine takes its place: platform admins may all, others nothing."""

    def __init__(self, people: People) -> None:
        self._people = people

    def may(self, caller: Caller, action: Action) -> Decision:
        user = self._people.user(caller.name)
        if user is not None and self._people.is_admin(user):
            return Decision(allowed=True, reason=f'bound to the role "{ADMIN_ROLE}" at platform scope')
        what = (
            f'resource "{action.resource}" in API group "{action.group}"' if action.resource else action.path
        )
        sub = f'/{action.subresource}"' if action.subresource else '"'
        what = what.replace(f'{action.resource}"', f"{action.resource}{sub}", 1) if action.resource else what
        return Decision(
            allowed=False,
            reason=f'User "{caller.name}" cannot {action.verb} {what} at {action.scope}: '
            f'no binding gives the role "{ADMIN_ROLE}" at platform scope',
        )


class Authenticator:
    """From a bearer token to a Session. A token is verified once and then remembered by its hash."""

    def __init__(self, tokens: Tokens, people: People) -> None:
        self._tokens = tokens
        self._people = people
        self._known: OrderedDict[bytes, Claims] = OrderedDict()

    def session(self, token: str, now_s: float) -> Session:
        """Raises NotAuthenticated (401) with the reason."""
        claims = self._claims(token, now_s)
        user = self._people.user(claims.user)
        if user is None or user.metadata.uid != claims.uid:
            raise _refused("token-revoked", "its user does not exist any more")
        if is_disabled(user):
            raise _refused(
                "account-disabled", f"the user is {DISABLED}: {user.status.reason or 'no reason given'}"
            )
        if self._tokens.password_mark(user.spec.encrypted_password) != claims.password_mark:
            raise _refused("token-revoked", "the password has been changed since")
        groups = tuple(group for group in user.spec.groups if not group.startswith("system:"))
        return Session(
            caller=Caller(name=claims.user, uid=claims.uid, groups=groups),
            restricted=must_change_password(user),
            is_admin=self._people.is_admin(user),
            expires_s=claims.expires_s,
        )

    def _claims(self, token: str, now_s: float) -> Claims:
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._known.get(digest)
        if claims is not None and now_s < claims.expires_s:
            return claims
        try:
            claims = self._tokens.check(token, now_s)
        except TokenRefused as error:
            raise _refused(error.code, str(error)) from None
        self._known[digest] = claims
        if len(self._known) > TOKENS_REMEMBERED:
            self._known.popitem(last=False)
        return claims


def _refused(code: str, why: str) -> NotAuthenticated:
    return NotAuthenticated(code, what="The token was refused", why=why, do=SIGN_IN)
