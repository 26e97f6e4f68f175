"""The step of the gateway that writes the trail: no change, and no secret shown, without a record (O6).

    intent durable → forwarded → outcome

Without an acknowledgement in time the answer is 503 `AuditUnavailable`, and nothing has been forwarded.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge.apiserver.answers import camel
from edge.apiserver.auditing.request import Describer, outcome_of, sign_in_record, sort_of, with_body
from edge.apiserver.upstreams.breaker import Unreachable
from edge.audit.record import READ, REFUSED, Record
from edge.audit.trail import Trail
from edge.audit.writer import Counts, NotWrittenError
from edge.iam.access import IndexAccess
from edge_sdk.clock import Clock
from edge_sdk.problem import Problem, Unavailable

if TYPE_CHECKING:
    from edge.apiserver.gateway import Exchange
    from edge.apiserver.routes import Handler

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
LARGE_BYTES: Final = 64 * 1024
"""Bodies beyond it are masked in a thread, so that others are not kept waiting."""
NO_ANSWER: Final = "there was no answer: the change was made, or not"
CUT: Final = 101
"""Of a stream that had begun, and was ended by either side."""
AUDIT_GROUP: Final = "audit.theriseunion.io"


class _TrailMeasures(Collector):
    """What the writer counts, read when it is asked for."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield CounterMetricFamily("edge_audit_records", "Records written.", counts.written)
        yield CounterMetricFamily(
            "edge_audit_dropped_reads", "Notes of reads and refusals that were dropped.", counts.dropped
        )
        yield GaugeMetricFamily("edge_audit_waiting", "Records that wait to be written.", counts.waiting)
        yield GaugeMetricFamily(
            "edge_audit_volume_used_ratio", "Share of the volume in use.", counts.used_ratio
        )
        yield GaugeMetricFamily(
            "edge_audit_last_checkpoint_timestamp_seconds",
            "Time of the last signed checkpoint.",
            counts.checkpoint_ms / 1000,
        )


class Auditor:
    def __init__(
        self,
        trail: Trail,
        describer: Describer,
        access: IndexAccess,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        all_reads: bool,
    ) -> None:
        """all_reads: note every read; otherwise those of the trail and those by `--as` alone. Readings of
        secrets are changes."""
        self.trail = trail
        self._describer = describer
        self._access = access
        self._clock = clock
        self._all_reads = all_reads
        self._seconds = Histogram(
            "edge_audit_append_seconds",
            "Time until a record was durable.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._refused = Counter(
            "edge_audit_refused", "Requests refused because they could not be recorded.", ("reason",),
            registry=registry,
        )  # fmt: skip
        registry.register(_TrailMeasures(trail.counts))

    def recorded(self, exchange: "Exchange", handler: "Handler") -> "Handler":
        """The handler with its records around it."""
        if sort_of(exchange) == "change":
            return lambda exchange: self._change(exchange, handler)
        as_other = exchange.by is not None
        if (
            self._all_reads
            or as_other
            or (exchange.resource is not None and exchange.resource.group == AUDIT_GROUP)
        ):
            return lambda exchange: self._read(exchange, handler)
        return handler

    def refused(self, exchange: "Exchange", problem: Problem) -> None:
        """A change that the caller may not make, or anything by `--as`; noted, since it changes nothing."""
        if exchange.session is None or not exchange.verb:
            return
        if exchange.by is None and sort_of(exchange) != "change":
            return
        record = self._record(exchange)
        self.trail.note(replace(record, phase=REFUSED, code=problem.status, reason=camel(problem.code)))

    async def signed_in(self, request: web.BaseRequest, user: Mapping[str, str], reason: str) -> None:
        """Durable before the answer goes out, whatever it is. Raises Unavailable."""
        origin = self._describer.origin(request)
        id_ = secrets.token_hex(16)
        await self._begin(
            sign_in_record(id_, self._now_ms(), user=user, origin=origin, reason=reason), "signed in"
        )

    async def signed_out(self, request: web.BaseRequest, user: Mapping[str, str]) -> None:
        """Durable before the session is ended. Raises Unavailable."""
        origin, id_ = self._describer.origin(request), secrets.token_hex(16)
        record = sign_in_record(id_, self._now_ms(), user=user, origin=origin, reason="Succeeded")
        req = replace(record.req, verb="sign-out", path=request.path[:400])
        await self._begin(replace(record, req=req), "signed out")

    async def _change(self, exchange: "Exchange", handler: "Handler") -> web.StreamResponse:
        record = await self._described(exchange)
        await self._begin(record, "shown" if exchange.shows_secrets else "changed")
        exchange.audit_id = record.id
        try:
            response = await handler(exchange)
        except Problem as problem:
            self._end(record, problem.status, camel(problem.code))
            raise
        except Unreachable:
            self._end(record, 503, "Unreachable")
            raise
        except BaseException as error:
            # A stream that is cut had begun; anything else may have been done or not.
            code, reason = (CUT, "cut") if exchange.stream else (0, f"{NO_ANSWER} ({type(error).__name__})")
            self._end(record, code, reason)
            raise
        body = response.body if isinstance(response, web.Response) else None
        self._end(record, response.status, body=body)
        return response

    async def _read(self, exchange: "Exchange", handler: "Handler") -> web.StreamResponse:
        record, code = self._record(exchange), CUT if exchange.stream else 0
        try:
            response = await handler(exchange)
            code = response.status
        except Problem as problem:
            code = problem.status
            raise
        finally:
            self.trail.note(replace(record, phase=READ, code=code))
        return response

    async def _described(self, exchange: "Exchange") -> Record:
        record, body = self._record(exchange), exchange.body
        if body is None:
            return record
        if len(body) > LARGE_BYTES:
            return await asyncio.to_thread(with_body, record, record.req.resource, body)
        return with_body(record, record.req.resource, body)

    async def _begin(self, record: Record, done: str) -> None:
        start = time.perf_counter()
        try:
            await self.trail.begin(record)
        except NotWrittenError as error:
            self._refused.labels(error.reason).inc()
            raise Unavailable(
                "audit-unavailable",
                what=f"Nothing was {done}",
                why=f"a record of it could not be made durable: {error}",
                do="try again; if it stays, look after the volume of the audit trail (docs/audit.md)",
            ) from error
        self._seconds.observe(time.perf_counter() - start)

    def _end(self, record: Record, code: int, reason: str = "", body: object = None) -> None:
        self.trail.finish(outcome_of(record, self._now_ms(), code, reason, body))

    def _record(self, exchange: "Exchange") -> Record:
        action = exchange.action
        scope = self._access.scope_of(action.scope) if action.verb and not action.path else None
        return self._describer.record(exchange, secrets.token_hex(16), self._now_ms(), scope)

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)
