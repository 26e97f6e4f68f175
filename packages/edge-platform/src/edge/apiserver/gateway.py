"""The way of a request through the gateway; its order is part of the contract (§8.1).

    read the path → public? → framing → who → limits → as whom → what → may they → record → handle → record
    → count

A step that fails raises a Problem, and that is the answer. Nothing is forwarded before every step has passed.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import structlog
from aiohttp import HttpVersion11, web

from edge.apiserver.answers import bug_answer, new_request_id, problem_answer, tagged
from edge.apiserver.auditing.auditor import Auditor
from edge.apiserver.bodies import BODY_MAX_BYTES, read_body
from edge.apiserver.callers.acting import NAME_MAX, Acting, not_for_others, question, wanted_user
from edge.apiserver.callers.identity import SIGN_IN, Authenticator, Session
from edge.apiserver.headers import BAD_HEADER, check_framing, forwarded
from edge.apiserver.listening.clientcerts import ClientCertificates
from edge.apiserver.listening.connection import Request
from edge.apiserver.listening.doors import Doors
from edge.apiserver.listening.fairness import FairQueue
from edge.apiserver.listening.limits import Gate, Limiter
from edge.apiserver.listening.strangers import Strangers
from edge.apiserver.measures import Measures
from edge.apiserver.paths import VERBS, Resource, Target, needs_proof, read_target
from edge.apiserver.proofs import Proofs
from edge.apiserver.rights.deciding import tells_its_scope
from edge.apiserver.rights.picture import Rights
from edge.apiserver.rights.streams import Streams
from edge.apiserver.routes import Handler, Router
from edge.apiserver.sessions.credential import credential
from edge.apiserver.upstreams.breaker import Unreachable
from edge.apiserver.upstreams.splice import Taken
from edge.apiserver.upstreams.upstream import broke_off, host_unavailable
from edge.iam.freshness import asked_now
from edge_sdk.access import Action
from edge_sdk.clock import Clock
from edge_sdk.problem import Forbidden, NotAuthenticated, Problem, TooMuch, Unavailable

GOODBYE_WITHIN_S: Final = 2.0
PUBLIC_MAX_BYTES: Final = 256 * 1024
"""Of a body from somebody who has not signed in yet."""

log = structlog.stdlib.get_logger("edge.apiserver")


@dataclass(slots=True)
class Exchange:
    """One request and what has been found out about it so far."""

    request: Request
    request_id: str
    started_s: float
    target: Target = field(default_factory=lambda: Target((), ()))
    verb: str = ""
    resource: Resource | None = None
    action: Action = field(default_factory=lambda: Action(""))
    named_scope: str = ""
    """The scope that the path itself names; the action's is the one that the stored object is in."""
    cluster: str = ""
    """The member that it goes to; "" for the host, and for what is no member's."""
    stream: bool = False
    goes_on: Callable[[], bool] | None = None
    """Of a stream that follows its caller's rights by itself: told when they may have changed."""
    session: Session | None = None
    by: Session | None = None
    """Who acts as the caller (`--as`): whose token it is, who is counted, and whom the record names."""
    token: str = ""
    """The access token that it came with."""
    body: bytes | None = None
    shows_secrets: bool = False
    """Whether the answer holds credentials that others do not see."""
    audit_id: str = ""
    """Of the record in the audit trail, and of the API server's own."""

    @property
    def caller(self) -> Session:
        if self.session is None:
            raise RuntimeError("a handler that needs a caller was reached without one")
        return self.session

    @property
    def sender(self) -> Session:
        """Who sent it: the caller, but for `--as`."""
        return self.by or self.caller


class Gateway:
    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        certificates: ClientCertificates,
        doors: Doors,
        limiter: Limiter | None,
        queue: FairQueue,
        strangers: Strangers | None,
        short: Gate,
        streams: Gate,
        measures: Measures,
        rights: Rights,
        acting: Acting,
        proofs: Proofs,
        clock: Clock,
        open_streams: Streams,
        request_timeout_s: float,
        auditor: Auditor | None = None,
        origins: Collection[str] = (),
    ) -> None:
        """origins: of consoles elsewhere, which may open WebSockets with the session cookie.

        limiter, strangers: None serves without a rate limit. auditor: None keeps no trail."""
        self._router = router
        self._authenticator = authenticator
        self._certificates = certificates
        self._doors = doors
        self._limiter = limiter
        self._queue = queue
        self._strangers = strangers
        self._short = short
        self._streams = streams
        self._measures = measures
        self._rights = rights
        self._acting = acting
        self._proofs = proofs
        self._clock = clock
        self._open_streams = open_streams
        self._timeout_s = request_timeout_s
        self._auditor = auditor
        self._origins = origins

    async def handle(self, request: Request) -> web.StreamResponse:
        """The handler of the HTTP server; answers every request, whatever happens."""
        exchange = Exchange(request, _request_id(request), time.perf_counter())
        request.edge_request_id = exchange.request_id
        try:
            response = tagged(request, await self._serve(exchange))
        except Problem as problem:
            response = self._refuse(exchange, problem)
        except (ConnectionResetError, aiohttp.ClientConnectionResetError):
            raise  # the client left
        except Exception as error:  # the last line of defence: a bug must not look like a crash
            log.exception("request_failed", request_id=exchange.request_id, verb=exchange.verb)
            response = self._refuse(exchange, error)
        if not response.prepared:
            if self._rights.allow_all:
                response.headers["X-Edge-Authz"] = "mode=AlwaysAllow"
            elif quiet_s := self._rights.freshness.quiet_s():
                response.headers["X-Edge-Authz"] = f"stale; age={quiet_s * 1000:.0f}"
        self._measures.record(
            exchange.verb or request.method.lower(),
            exchange.resource,
            _scope_type(exchange.action),
            response.status,
            exchange.started_s,
            stream=exchange.stream,
        )
        return response

    def _refuse(self, exchange: Exchange, error: Exception) -> web.StreamResponse:
        request = exchange.request
        if request.writer.output_size > 0:
            # The head of an answer is out: only a cut tells the client that the rest is missing.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the answer broke off") from error
        if isinstance(error, Problem):
            response = problem_answer(error, exchange.request_id)
            if error.status == 405:
                response.headers["Allow"] = ", ".join(self._router.methods(exchange.target))
        else:
            response = bug_answer(exchange.request_id)
        unclear = isinstance(error, Problem) and error.code == BAD_HEADER
        if unclear or not request.content.is_eof() or "Upgrade" in request.headers:
            response.force_close()  # what follows is the rest of a body, or meant for another protocol
        return response

    async def _serve(self, exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        exchange.target = read_target(request.raw_path)
        preflight = self._doors.preflight(request)
        if preflight is not None:
            return preflight
        if request.method not in VERBS:
            raise Problem(
                "method-not-allowed",
                what=f"The method {request.method[:20]} is not known here",
                do=f"use one of {', '.join(VERBS)}",
                status=405,
            )
        handler = self._router.public(request.method, exchange.target)
        names = check_framing(request.headers.items(), knows_chunks=request.version >= HttpVersion11)
        wanted = wanted_user(request.headers, names)
        if wanted and handler is not None and exchange.target.segments[:1] == ("oauth",):
            raise not_for_others("/" + "/".join(exchange.target.segments))
        if handler is not None:
            await self._limit_stranger(exchange)
        if handler is not None and request.method in ("GET", "HEAD"):
            return await handler(exchange)  # health has no seat to wait for: a busy gateway is not a dead one
        if handler is not None:
            return await self._bounded(handler, exchange)
        self._router.require_private(request.method, exchange.target)
        exchange.session = await self._authenticate(exchange)
        await self._limit(exchange)
        if tells_its_scope(request.method, exchange.target):
            await self._receive(exchange)
        if wanted or needs_proof(request.method, exchange.target):
            asked_now()
            await self._proofs.prove(exchange.caller)
            exchange.session = await self._authenticate(exchange)
        if wanted:
            self._act(exchange, wanted)
        handler = self._found(exchange)
        return await self._bounded(handler, exchange)

    def _found(self, exchange: Exchange) -> Handler:
        """The handler, with its records in the audit trail around it. Raises as `Router.find`."""
        if self._auditor is None:
            return self._router.find(exchange)
        try:
            handler = self._router.find(exchange)
        except Forbidden as problem:
            self._auditor.refused(exchange, problem)
            raise
        return self._auditor.recorded(exchange, handler)

    def _act(self, exchange: Exchange, name: str) -> None:
        """From here on the caller is the user of this name. Raises as `Acting.begin`."""
        own = exchange.caller
        try:
            exchange.session, exchange.by = self._acting.begin(own, name), own
        except Forbidden as problem:
            exchange.action = question(name[:NAME_MAX])
            exchange.verb = exchange.action.verb
            exchange.resource = Resource("", "v1", exchange.action.resource, name=exchange.action.name)
            if self._auditor is not None:
                self._auditor.refused(exchange, problem)
            raise

    async def _authenticate(self, exchange: Exchange) -> Session:
        """By token or cookie; without a token, by the certificate that the connection was opened with."""
        certified = self._certified(exchange.request)
        if certified is not None:
            return certified
        exchange.token = credential(exchange.request, self._origins)
        return await self._authenticator.admit(exchange.token, self._clock.now_s())

    def _certified(self, request: Request) -> Session | None:
        if "Authorization" in request.headers:
            return None
        session = self._certificates.session(request.transport, self._clock.now_s())
        if session is not None:
            self._doors.check_origin(request)
        return session

    async def _limit(self, exchange: Exchange) -> None:
        """The caller's own limit, then a turn among all."""
        caller = exchange.sender.caller.name
        try:
            if self._limiter is not None:
                delay_s = self._limiter.delay(caller, time.monotonic())
                if delay_s > 0:
                    self._measures.throttled.labels("delayed").inc()
                    await asyncio.sleep(delay_s)
            await self._queue.enter(caller)
        except TooMuch:
            self._measures.throttled.labels("refused").inc()
            raise

    async def _limit_stranger(self, exchange: Exchange) -> None:
        """Of what needs no token, that which costs something: signing in, and all that belongs to it."""
        if self._strangers is None or exchange.target.segments[:1] != ("oauth",):
            return
        request = exchange.request
        hops = forwarded(request.headers, "X-Forwarded-For")
        try:
            delay_s = await self._strangers.enter(request.remote or "unknown", hops)
        except TooMuch:
            self._measures.throttled.labels("refused").inc()
            raise
        if delay_s > 0:
            self._measures.throttled.labels("delayed").inc()

    async def _bounded(self, handler: Handler, exchange: Exchange) -> web.StreamResponse:
        """Run a handler with its seat and, unless it streams, its time-out."""
        if exchange.request.method not in ("GET", "HEAD"):
            await self._receive(exchange)
        gate = self._streams if exchange.stream else self._short
        caller = "" if exchange.session is None else exchange.sender.caller.name
        gate.enter(caller)
        try:
            if exchange.stream:
                return await self._streamed(handler, exchange)
            async with asyncio.timeout(self._timeout_s):
                return await handler(exchange)
        except TimeoutError:
            raise self._timed_out(exchange) from None
        except Unreachable as error:
            raise host_unavailable(error) from error
        except aiohttp.ClientError as error:
            what = "The Kubernetes API broke the connection"
            raise broke_off(error, exchange.request.method, what=what) from error
        finally:
            gate.leave(caller)

    async def _receive(self, exchange: Exchange) -> None:
        """The body, before a seat is taken: who sends slowly keeps nobody else from being served."""
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await read_body(
                    exchange.request, BODY_MAX_BYTES if exchange.session else PUBLIC_MAX_BYTES
                )
        except TimeoutError:
            raise Problem(
                "body-too-slow",
                what="The request was given up",
                why=f"its body was not there within {self._timeout_s:g} s",
                do="send it again over a better line",
                status=408,
            ) from None
        if exchange.session is not None:
            exchange.body = body

    async def _streamed(self, handler: Handler, exchange: Exchange) -> web.StreamResponse:
        """Without a time-out, but a stream outlives neither its token nor the right behind it."""

        def may_go_on() -> bool:
            try:
                own = self._certified(exchange.request) or self._authenticator.session(
                    exchange.token, self._clock.now_s()
                )
                if exchange.by is None:
                    exchange.session = own
                else:
                    exchange.session = self._acting.go_on(own, exchange.caller.caller.name)
                    exchange.by = own
            except Problem:
                return False
            return self._router.may_go_on(exchange)

        left_s = exchange.caller.expires_s - self._clock.now_s()
        sender = exchange.sender.caller.name
        with self._open_streams.running(
            exchange.caller.caller.name, may_go_on, by=sender, cluster=exchange.cluster
        ):
            try:
                async with asyncio.timeout(max(1.0, left_s)):
                    response = await handler(exchange)
                if isinstance(response, Taken) and response.was_idle:
                    self._tell_idle(exchange)
                return response
            except asyncio.CancelledError:
                return await self._said_goodbye(exchange)

    def _tell_idle(self, exchange: Exchange) -> None:
        self._measures.shells_idle.inc()
        log.info(
            "shell_was_idle",
            user=exchange.caller.caller.name,
            path="/" + "/".join(exchange.target.segments),
            open_s=round(time.perf_counter() - exchange.started_s),
            request_id=exchange.request_id,
        )

    async def _said_goodbye(self, exchange: Exchange) -> web.StreamResponse:
        """The end of a stream because this process stops: its client sees an end, and not a cut."""
        answer, task = exchange.request.answer, asyncio.current_task()
        if (
            not self._open_streams.ending
            or answer is None
            or task is None
            or exchange.request.transport is None
        ):
            raise asyncio.CancelledError
        task.uncancel()
        async with asyncio.timeout(GOODBYE_WITHIN_S):
            await answer.write_eof()
        answer.force_close()
        return answer

    def _timed_out(self, exchange: Exchange) -> Problem:
        if exchange.stream:
            return NotAuthenticated(
                "token-expired", what="The stream was ended", why="its token has expired", do=SIGN_IN
            )
        return Unavailable(
            "upstream-timeout",
            what="The request was given up",
            why=f"it took longer than {self._timeout_s:g} s",
            do="try again with a narrower question, or watch instead of waiting",
            status=504,
        )


def _scope_type(action: Action) -> str:
    """The scope type that a request is about, as a label of bounded values."""
    return action.scope.rpartition("/")[0].rpartition("/")[2] or "platform"


def _request_id(request: web.BaseRequest) -> str:
    given = request.headers.get("X-Request-Id", "")
    if 8 <= len(given) <= 64 and given.replace("-", "").isalnum() and given.isascii():
        return given
    return new_request_id()
