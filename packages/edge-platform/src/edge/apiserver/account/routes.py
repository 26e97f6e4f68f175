"""A user's own account: who am I, and a new password (I14, I16). Needs no role, and reaches nobody else's."""

import asyncio
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web

from edge.apiserver.answers import document
from edge.apiserver.callers.identity import People
from edge.apiserver.openapi.operation import IAM, Operation
from edge.apiserver.openapi.shapes import Me, Status
from edge.apiserver.paths import Resource
from edge.apiserver.sessions.store import Sessions
from edge.apiserver.signin.routes import SignIn
from edge.iam.accounts import MUST_CHANGE_ANNOTATION, PASSWORD_CHANGED_ANNOTATION, must_change_password
from edge.iam.escalation import takeover_lacks
from edge.iam.federated import link_of, provider_of
from edge.iam.index import Index
from edge.iam.passwords import hash_password, is_hash, password_violation
from edge.iam.turns import in_turns
from edge.iam.types import GROUP, User
from edge_kube.client import Client
from edge_kube.conditions import rfc3339
from edge_kube.errors import Conflict as VersionConflict
from edge_kube.errors import Invalid as Refused
from edge_kube.errors import KubeError, NotFound
from edge_kube.meta import Key
from edge_sdk.access import Access, Action
from edge_sdk.clock import Clock
from edge_sdk.problem import (
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    NotAuthenticated,
    Problem,
    Unavailable,
    Violation,
)

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

STORE_TRIES: Final = 5
KNOWN_WITHIN_S: Final = 5.0
SAME: Final = "the new password is the old one"

log = structlog.stdlib.get_logger("edge.apiserver")


class NewPassword(msgspec.Struct, rename="camel"):
    """Body of PUT users/NAME/password. currentPassword is needed for one's own."""

    new_password: str
    current_password: str = ""


OPERATIONS: Final = (
    Operation("GET", f"{IAM}/me", "Who is signed in", "me", answer=Me, name="getMe"),
    Operation(
        "PUT", f"{IAM}/users/{{name}}/password", "Set a password; one's own needs the current one", "me",
        body=NewPassword, answer=Status, name="setPassword", refuses=(409, 422),
    ),
    Operation(
        "POST", f"{IAM}/users/{{name}}/password", "Set a password, for clients that cannot PUT", "me",
        body=NewPassword, answer=Status, name="postPassword", refuses=(409, 422),
    ),
)  # fmt: skip


class Account:
    def __init__(
        self,
        *,
        client: Client,
        people: People,
        access: Access,
        index: Index,
        clock: Clock,
        sessions: Sessions,
        sign_in: SignIn,
    ) -> None:
        self._client = client
        self._people = people
        self._access = access
        self._index = index
        self._clock = clock
        self._sessions = sessions
        self._sign_in = sign_in

    def handler(self, exchange: "Exchange", resource: Resource) -> "Handler | None":
        """The handler of a path about accounts; None when the path is an ordinary one."""
        method = exchange.request.method
        if resource.group != GROUP or resource.version != "v1alpha1":
            return None
        if resource.resource == "me" and not resource.name and method in ("GET", "HEAD"):
            exchange.verb = "get"
            return self._me
        if resource.resource == "users" and resource.subresource == "password" and not resource.rest:
            if method not in ("PUT", "POST"):
                raise Problem(
                    "method-not-allowed",
                    what="A password can only be set",
                    why="it is never shown",
                    do='PUT {"currentPassword": …, "newPassword": …}',
                    status=405,
                )
            exchange.verb = "update"
            return self._password(resource.name)
        return None

    async def _me(self, exchange: "Exchange") -> web.StreamResponse:
        session = exchange.caller
        user = self._people.user(session.caller.name)
        spec = user.spec if user is not None else None
        return document(
            Me(
                user=session.caller.name,
                display_name=spec.display_name if spec else "",
                lang=spec.lang if spec else "",
                groups=session.caller.groups,
                must_change_password=session.restricted,
                session_expires=rfc3339(session.expires_s),
                server_time=datetime.fromtimestamp(self._clock.now_s(), UTC).isoformat(timespec="seconds"),
            )
        )

    def _password(self, name: str) -> "Handler":
        async def handle(exchange: "Exchange") -> web.StreamResponse:
            wanted = _read(exchange.body)
            user = self._target(exchange, name)
            own = name == exchange.caller.caller.name
            if own:
                await self._check_current(exchange, user, wanted)
            else:
                await self._require_as_much(exchange.caller.caller.name, user)
            if is_hash(wanted.new_password):
                raise _refused(Violation("newPassword", "***", "it is a hash, not a password", "plain text"))
            violation = password_violation(wanted.new_password, "newPassword")
            if violation is not None:
                raise _refused(violation)
            hashed = await asyncio.to_thread(hash_password, wanted.new_password)
            sid = exchange.caller.sid if own else ""
            if sid:
                await self._sessions.outlive(sid, user.spec.encrypted_password, hashed)
            try:
                await self._store(user, hashed, own=own)
            except KubeError as error:
                raise _not_stored(error) from error
            await self._known(name, hashed)
            with suppress(Unavailable):  # none of them counts any more; what is left is swept
                await self._sessions.end_all(name, but=sid)
            return document({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

        return handle

    def _target(self, exchange: "Exchange", name: str) -> User:
        caller = exchange.caller
        if name != caller.caller.name:
            action = Action("update", GROUP, "users", "password", name=name)
            decision = self._access.may(caller.caller, action)
            if not decision.allowed or caller.restricted:
                raise Forbidden(
                    "forbidden",
                    what=f'User "{caller.caller.name}" cannot set the password of "{name}"',
                    why=decision.reason if not decision.allowed else "your own must be changed first",
                    do="change your own, or ask a platform admin",
                )
        user = self._people.user(name)
        if user is None:
            raise _no_user(name)
        if link_of(user):
            raise Conflict(
                "user-of-a-directory",
                what="The password was not changed",
                why=f'"{name}" signs in at a directory ({provider_of(user)}), and has no password here',
                do="change it there",
            )
        return user

    async def _require_as_much(self, author: str, user: User) -> None:
        """Admission asks the same of a password that is written to the object; here we are the author."""
        async with aclosing(in_turns(takeover_lacks(self._index, author, user))) as lacks:
            async for lack in lacks:
                raise Forbidden(
                    "forbidden",
                    what=f'"{author}" may not set the password of "{user.metadata.name}"',
                    why=f"whoever knows it is that user: {lack.text}",
                    do="ask a platform admin",
                )

    async def _check_current(self, exchange: "Exchange", user: User, wanted: NewPassword) -> None:
        if not await self._sign_in.check_again(user, wanted.current_password, exchange.request):
            raise NotAuthenticated(
                "wrong-password",
                what="The password was not changed",
                why="currentPassword is not your password",
                do="send the password that you signed in with",
            )
        if wanted.current_password == wanted.new_password and must_change_password(user):
            raise _refused(Violation("newPassword", "***", SAME, "another password"))

    async def _store(self, user: User, hashed: str, *, own: bool) -> None:
        """Every session and kubeconfig of the old password ends with it, since they carry its mark."""
        annotations: dict[str, Any] = {
            PASSWORD_CHANGED_ANNOTATION: rfc3339(self._clock.now_s()),
            MUST_CHANGE_ANNOTATION: None if own else "true",
        }
        patch = {"metadata": {"annotations": annotations}, "spec": {"encryptedPassword": hashed}}
        for _ in range(STORE_TRIES):
            key, version = Key("", user.metadata.name), user.metadata.resource_version
            try:
                await self._client.merge(User, key, patch, rv=version)
            except NotFound:
                raise _no_user(user.metadata.name) from None
            except VersionConflict:
                # Most often a sign-in was noted meanwhile: only another password stands in the way.
                live = await self._client.get(User, user.metadata.name)
                if _identity(live) != _identity(user):
                    break
                user = live
            else:
                return
        raise Conflict(
            "conflict",
            what="The password was not changed",
            why="the user was changed at the same moment",
            do="try again",
        )

    async def _known(self, name: str, hashed: str) -> None:
        """Until the watch has brought it: who signs in with it at once must not be told that it is wrong."""
        try:
            async with asyncio.timeout(KNOWN_WITHIN_S):
                while (known := self._people.user(name)) is not None and (  # noqa: ASYNC110
                    known.spec.encrypted_password != hashed
                ):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.warning("password_not_seen_yet", user=name)


def _no_user(name: str) -> Missing:
    return Missing("not-found", what=f'There is no user "{name}"', do="GET …/users shows who there is")


def _not_stored(error: KubeError) -> Problem:
    """Our webhooks repeat no password in what they say."""
    if isinstance(error, Refused):
        return _refused(Violation("newPassword", "***", error.message))
    return Unavailable(
        "password-not-stored",
        what="It is not known whether the password was changed",
        why=f"the Kubernetes API did not take it: {error}",
        do="sign in with the new one; if that is refused, the old one counts: try again",
    )


def _identity(user: User) -> tuple[str, str]:
    return user.metadata.uid, user.spec.encrypted_password


def _read(body: bytes | None) -> NewPassword:
    try:
        return msgspec.json.decode(body or b"", type=NewPassword)
    except msgspec.MsgspecError:
        raise Problem(
            "bad-body",
            what="The body was not understood",
            why='it is not {"currentPassword": "…", "newPassword": "…"}',
            do="send that JSON object",
        ) from None


def _refused(violation: Violation) -> Invalid:
    return Invalid("invalid-password", (violation,), what="The password was not changed")
