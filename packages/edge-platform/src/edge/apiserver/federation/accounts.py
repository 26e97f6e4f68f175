"""Bearer tokens of the host cluster's service accounts: the API server says whose they are (I13).

A pod mounts a token for our audience and calls the gateway with it. Bindings whose subject is the service
account decide what it may; upstream it is itself, so that the cluster's own RBAC holds for it as well. A
member has service accounts of its own with the same names, so there it is nobody.

Verdicts are kept for ten seconds, and those behind open streams are renewed. Source: design §9.
"""

import asyncio
import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from edge.apiserver.callers.identity import SIGN_IN, Session
from edge.apiserver.listening.limits import Bucket
from edge.apiserver.rights.streams import Streams
from edge.iam.accounts import is_service_account
from edge_kube.client import Client
from edge_kube.errors import KubeError
from edge_kube.wire import error_of_body
from edge_sdk.access import Caller
from edge_sdk.clock import Clock
from edge_sdk.problem import NotAuthenticated, TooMuch, Unavailable

GOOD_S: Final = 10.0
BAD_S: Final = 5.0
KEPT_MAX: Final = 2000
REVIEWS_A_SECOND: Final = 20.0
REVIEWS_AT_ONCE: Final = 50.0
WITHIN_S: Final = 5.0
TOKEN_MAX: Final = 8192
REVIEW_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"

log = structlog.stdlib.get_logger("edge.apiserver")


class _Claims(msgspec.Struct):
    """What a token says about itself, before anybody has vouched for it."""

    iss: str = ""
    sub: str = ""
    aud: str | list[str] = ""
    exp: float = 0.0


class _User(msgspec.Struct):
    username: str = ""
    uid: str = ""


class _Status(msgspec.Struct):
    authenticated: bool = False
    user: _User = msgspec.field(default_factory=_User)
    audiences: list[str] = msgspec.field(default_factory=list[str])


class _Review(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """name "": the API server does not know the token."""

    token: str
    name: str
    uid: str
    expires_s: float
    at_s: float

    def is_fresh(self, now_s: float) -> bool:
        return now_s - self.at_s < (GOOD_S if self.name else BAD_S)


class ServiceAccounts:
    def __init__(
        self,
        client: Client,
        *,
        audience: str,
        is_admin: Callable[[str], bool],
        streams: Streams,
        clock: Clock,
    ) -> None:
        """audience: what a token must be made for. is_admin: as the Authenticator asks it."""
        self._client = client
        self._audience = audience
        self._is_admin = is_admin
        self._streams = streams
        self._clock = clock
        self._known: OrderedDict[bytes, _Verdict] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Verdict]] = {}
        self._bucket = Bucket(REVIEWS_A_SECOND, REVIEWS_AT_ONCE, clock.monotonic_s())
        self._proven = OrderedDict[bytes, None]()
        """Tokens that were good before: made-up ones take none of their turns."""
        self._bucket_of_proven = Bucket(REVIEWS_A_SECOND, REVIEWS_AT_ONCE, clock.monotonic_s())

    def is_one(self, token: str) -> bool:
        """Whether it says that it is a service account's, for us. If that is true, the API server says."""
        claims = _claims(token)
        if claims is None or not is_service_account(claims.sub):
            return False
        return self._audience in ([claims.aud] if isinstance(claims.aud, str) else claims.aud)

    async def admit(self, token: str, now_s: float) -> Session:
        """Raises NotAuthenticated, TooMuch, Unavailable."""
        digest = _digest(token)
        verdict = self._known.get(digest)
        if verdict is None or not verdict.is_fresh(self._clock.monotonic_s()):
            await self._renewed(digest, token)
        return self.session(token, now_s)

    def session(self, token: str, now_s: float) -> Session:
        """By what is known already: of what is under way. Raises NotAuthenticated."""
        verdict = self._known.get(_digest(token))
        if verdict is None or not verdict.name or now_s >= verdict.expires_s:
            raise NotAuthenticated(
                "token-invalid",
                what="The token was refused",
                why="the cluster does not know it, or it has expired, or it is for another audience",
                do=f"mount a token for audience {self._audience}, or {SIGN_IN}",
            )
        return Session(
            caller=Caller(name=verdict.name, uid=verdict.uid),
            restricted=False,
            is_admin=self._is_admin(verdict.name),
            expires_s=verdict.expires_s,
        )

    async def run(self) -> None:
        """Renew the verdicts behind open streams, forget those that nobody uses. Until cancelled."""
        while True:
            await asyncio.sleep(GOOD_S / 2)
            await self.renew()

    async def renew(self) -> None:
        """A stream whose service account is gone ends here."""
        now_s = self._clock.monotonic_s()
        for digest, verdict in list(self._known.items()):
            if verdict.is_fresh(now_s + GOOD_S / 2):
                continue
            if not verdict.name or not self._streams.has(verdict.name):
                self._known.pop(digest, None)
                continue
            try:
                renewed = await self._renewed(digest, verdict.token)
            except (TooMuch, Unavailable) as problem:
                log.warning("token_not_reviewed", user=verdict.name, error=str(problem))
            else:
                if not renewed.name:
                    self._streams.look(verdict.name)

    async def _renewed(self, digest: bytes, token: str) -> _Verdict:
        """One question however many requests carry the token at once."""
        task = self._asking.get(digest)
        if task is None:
            bucket = self._bucket_of_proven if digest in self._proven else self._bucket
            if bucket.take(self._clock.monotonic_s(), 1.0) < 0:
                raise TooMuch(
                    "too-many-requests",
                    what="The token was not looked at",
                    why=f"the limit is {REVIEWS_A_SECOND:g} tokens of service accounts a second",
                    do="try again in a second",
                    retry_after_s=1,
                )
            task = self._asking[digest] = asyncio.create_task(self._review(token))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        verdict = await asyncio.shield(task)
        self._known[digest] = verdict
        self._known.move_to_end(digest)
        while len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        self._proven.pop(digest, None)
        if verdict.name:
            self._proven[digest] = None
        while len(self._proven) > KEPT_MAX:
            self._proven.popitem(last=False)
        return verdict

    async def _review(self, token: str) -> _Verdict:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            async with asyncio.timeout(WITHIN_S):
                response = await self._client.raw("POST", REVIEW_PATH, data=msgspec.json.encode(body))
                async with response:
                    answer = await response.read()
                    if response.status != 201:
                        raise error_of_body(response.status, answer)
            status = msgspec.json.decode(answer, type=_Review).status
        except (KubeError, TimeoutError, msgspec.MsgspecError) as error:
            raise Unavailable(
                "token-not-reviewed",
                what="It is not known whose token this is",
                why=f"the Kubernetes API did not say: {error}",
                do="try again in a second",
            ) from error
        known = status.authenticated and self._audience in status.audiences
        name = status.user.username if known and is_service_account(status.user.username) else ""
        claims = _claims(token) or _Claims()
        ends_s = claims.exp or self._clock.now_s() + GOOD_S
        return _Verdict(token, name, status.user.uid, ends_s, self._clock.monotonic_s())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _claims(token: str) -> _Claims | None:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > TOKEN_MAX:
        return None
    try:
        content = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(content, type=_Claims)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
