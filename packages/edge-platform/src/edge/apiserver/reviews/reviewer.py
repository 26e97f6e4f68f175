"""Answers SubjectAccessReviews of the host's API server from the index (I10).

    answer = reviewer.answer(body)                 # at once, while the picture of rights is fresh
    answer = answer or await reviewer.later(body)  # after a proof that it is

Never a "no": what the index does not allow is no opinion, so that the API server's own Node and RBAC still
count. A picture that may be old answers nothing at all: HTTP 503, which `failurePolicy: NoOpinion` turns into
no opinion. Not 500, which API servers ask again several times, with the request waiting for seconds.
Source: design §7.1.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
import structlog

from edge.apiserver.listening.limits import Gate
from edge.apiserver.rights.picture import Rights
from edge.iam.accessreview import API_VERSION, KIND, Review, Verdict, caller_of, check, review
from edge.iam.freshness import State, asked_now
from edge_kube.client import Client
from edge_kube.wire import error_of_body
from edge_sdk.problem import Unavailable

FRESH_FOR_S: Final = 0.02
"""How long one look at the age of the picture is good for; it looks at the watch of every kind."""
PROOF_WITHIN_S: Final = 0.5
"""An API server waits one second for an answer."""
PROOF_AGAIN_S: Final = 0.25
"""A proof that failed is not tried again sooner: the API server, who waits for it, is the one in trouble."""

log = structlog.stdlib.get_logger("edge.apiserver")
_reviews: Final = msgspec.json.Decoder(Review)
_text: Final = msgspec.json.Encoder()
_HEAD: Final = (
    f'{{"kind":"{KIND}","apiVersion":"{API_VERSION}","metadata":{{}},"spec":{{}},"status":{{'.encode()
)
_YES: Final = _HEAD + b'"allowed":true,"reason":'
_NO: Final = _HEAD + b'"allowed":false,"reason":'
_OURSELVES: Final = Verdict(allowed=False, reason="the gateway does not decide about itself")


async def own_name(client: Client) -> str:
    """As whom the API server sees us. Raises KubeError."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    response = await client.raw(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", data=msgspec.json.encode(asked)
    )
    async with response:
        body = await response.read()
        if response.status != 201:
            raise error_of_body(response.status, body)
    return msgspec.json.decode(body, type=_Self).status.user_info.username


class _User(msgspec.Struct):
    username: str = ""


class _Status(msgspec.Struct, rename="camel"):
    user_info: _User


class _Self(msgspec.Struct):
    status: _Status


class Answer(NamedTuple):
    """status: of HTTP; body: JSON for 200, a sentence otherwise."""

    status: int
    body: bytes


class Reviewer:
    def __init__(self, rights: Rights, known: Callable[[str], bool], waiting: Gate) -> None:
        """known: whether a User object has this name. waiting: bounds the reviews that wait for a proof."""
        self.own_name = ""
        """As whom we call the API server. A review about us never waits for a proof: that is our own call."""
        self._rights = rights
        self._index = rights.index
        self._known = known
        self._checks = rights.checks
        self._waiting = waiting
        self._fresh_until = 0.0
        self._no_proof_until = 0.0
        self._renewing: asyncio.Task[None] | None = None

    def answer(self, body: bytes) -> Answer | None:
        """The answer; None when the picture of rights must be proven to be new first."""
        start = time.perf_counter()
        try:
            asked = _reviews.decode(body)
            check(asked)
            spec = asked.spec
            if spec.user == self.own_name and spec.user:
                verdict = _OURSELVES
            elif not self._is_fresh(start):
                return None
            else:
                verdict = review(self._index, caller_of(self._index, spec, self._known), spec)
        except (msgspec.MsgspecError, ValueError) as error:
            self._checks.refused("bad")
            return Answer(400, f"The body is no {KIND} of {API_VERSION}: {error}\n".encode())
        self._checks.seen(verdict.allowed, time.perf_counter() - start)
        return Answer(200, (_YES if verdict.allowed else _NO) + _text.encode(verdict.reason) + b"}}\n")

    async def later(self, body: bytes) -> Answer:
        """The answer after a new proof, or 503 where that cannot be had."""
        if self._rights.freshness.state() is State.UNSYNCED:
            return self._unavailable("roles and bindings have not been read yet")
        if time.perf_counter() < self._no_proof_until:
            return self._unavailable(
                "it was tried just now, and could not be shown that the rights are up to date"
            )
        try:
            self._waiting.enter()
        except Unavailable as error:
            return self._unavailable(str(error))
        asked_now()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROOF_WITHIN_S):
                    await self._rights.beats.prove()
        finally:
            self._waiting.leave()
        found = self.answer(body)
        if found is None:
            self._no_proof_until = time.perf_counter() + PROOF_AGAIN_S
            return self._unavailable("it could not be shown that the rights known here are up to date")
        return found

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _unavailable(self, why: str) -> Answer:
        self._checks.refused("unavailable")
        return Answer(503, f"{why}\n".encode())

    def _is_fresh(self, now: float) -> bool:
        """Whether what was written before STALE_S ago has arrived. Under way, a proof is renewed beside."""
        if now < self._fresh_until:
            return True
        if self._rights.freshness.state() is not State.FRESH:
            return False
        self._fresh_until = now + FRESH_FOR_S
        if self._rights.beats.is_due and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.get_running_loop().create_task(self._rights.beats.prove())
        return True
