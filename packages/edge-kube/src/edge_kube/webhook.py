"""The admission webhook server: TLS 1.3, certificates replaced while it runs, pure functions behind it.

Promises: every rejection lists all violations with field, value, why and what is accepted; an error of ours
refuses the object (fail closed) unless the room marked the webhook `Ignore`; an object that is being deleted
is never refused, since that would keep its finalizers for ever; nothing is changed outside the request, so a
dry run is no special case. Source: S3, P4; design kube-runtime §11.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import structlog
from aiohttp import web

from edge_kube.client import decoder_of
from edge_kube.meta import Manifest, Resource, kind_of
from edge_kube.metrics import Metrics
from edge_kube.wire import UndecodableError

log = structlog.stdlib.get_logger("edge_kube.webhook")

BODY_BYTES_MAX = 3 * 1024 * 1024
ANSWER_WITHIN_S = 5.0  # the API server gives up after ten
WARN_WITHIN_S = 3.0  # a warning is no reason to refuse
WARNING_MAX = 256  # the API server cuts longer ones
WARNINGS_MAX = 15  # together they stay under the 4,096 characters that it passes on

PatchOps = Sequence[Mapping[str, Any]]


class Violation(Protocol):
    """`str()` gives the whole sentence: field, value, why, accepted."""

    @property
    def field(self) -> str: ...


class Author(msgspec.Struct, rename="camel", frozen=True):
    """Who makes the change, as the API server has authenticated them."""

    username: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""


class NotNow(Exception):
    """It cannot be told at the moment whether the change is admitted: 503, to be tried again."""


class Webhook(Protocol):
    """What a room says about the admission of one kind; `edge_sdk.room.Webhook` has this shape."""

    @property
    def kind(self) -> type[Any]: ...
    @property
    def default(self) -> Callable[[Any], PatchOps] | None: ...
    @property
    def stamp(self) -> Callable[[Any, Any, Author], PatchOps] | None: ...
    @property
    def validate(self) -> Callable[[Any, Any], Sequence[Violation]] | None: ...
    @property
    def authorize(self) -> Callable[[Any, Any, Author], Awaitable[Sequence[str]]] | None: ...
    @property
    def warn(self) -> Callable[[Any, Any, Author], Awaitable[Sequence[str]]] | None: ...
    @property
    def retain(self) -> Callable[[Any, Author], Awaitable[Sequence[str]]] | None: ...
    @property
    def retain_if(self) -> str: ...
    @property
    def conditions(self) -> Mapping[str, str]: ...
    @property
    def going(self) -> str: ...
    @property
    def failure_policy(self) -> Literal["Fail", "Ignore"]: ...


def mutates(webhook: Webhook) -> bool:
    return webhook.default is not None or webhook.stamp is not None


def validates(webhook: Webhook) -> bool:
    return bool(webhook.validate or webhook.authorize or webhook.warn)


def releases(webhook: Webhook) -> bool:
    """Whether it is asked about deletions."""
    return bool(webhook.warn or webhook.retain)


class AdmissionRequest(msgspec.Struct, rename="camel", frozen=True):
    uid: str
    operation: str = ""
    user_info: Author = Author()
    object: msgspec.Raw = msgspec.Raw(b"null")
    old_object: msgspec.Raw = msgspec.Raw(b"null")
    dry_run: bool | None = None


class AdmissionReview(msgspec.Struct, rename="camel", frozen=True):
    request: AdmissionRequest
    api_version: str = "admission.k8s.io/v1"


_reviews = msgspec.json.Decoder(AdmissionReview)


def mutate_path(kind: type[Resource]) -> str:
    return f"/mutate/{kind_of(kind)}"


def validate_path(kind: type[Resource]) -> str:
    return f"/validate/{kind_of(kind)}"


def delete_path(kind: type[Resource]) -> str:
    return f"/delete/{kind_of(kind)}"


class WebhookServer:
    """Serves the webhooks of all rooms on one port. `load` may be called again at any time."""

    def __init__(self, webhooks: Sequence[Webhook], *, cert_dir: Path, metrics: Metrics) -> None:
        """cert_dir: where tls.crt and tls.key are put, since TLS libraries read files only."""
        self._webhooks = tuple(webhooks)
        self._cert_dir = cert_dir
        self._metrics = metrics
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._runner: web.AppRunner | None = None
        self.port = 0

    def load(self, cert: bytes, key: bytes) -> None:
        """Serve this certificate to new connections; open ones keep theirs."""
        self._cert_dir.mkdir(parents=True, exist_ok=True)
        cert_file, key_file = self._cert_dir / "tls.crt", self._cert_dir / "tls.key"
        key_file.touch(mode=0o600)
        key_file.write_bytes(key)
        cert_file.write_bytes(cert)
        self._context.load_cert_chain(cert_file, key_file)

    async def start(self, host: str, port: int) -> None:
        """Listen; `load` comes first. port 0 takes a free one, told by `self.port`. Raises OSError."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        for webhook in self._webhooks:
            if mutates(webhook):
                app.router.add_post(mutate_path(webhook.kind), self._handler(webhook, self._mutate))
            if validates(webhook):
                app.router.add_post(validate_path(webhook.kind), self._handler(webhook, self._validate))
            if releases(webhook):
                app.router.add_post(delete_path(webhook.kind), self._handler(webhook, self._delete))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=self._context)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End listening; requests in hand get two seconds."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _handler(
        self, webhook: Webhook, answer: Callable[[Webhook, AdmissionRequest], Awaitable[Manifest]]
    ) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            name = request.path
            started = time.monotonic()
            code = 500
            inflight = self._metrics.webhook_inflight.labels(name)
            inflight.inc()
            try:
                body = await request.read()
                review = _reviews.decode(body)
                verdict = await self._guarded(webhook, review.request, answer)
                code = verdict.get("status", {}).get("code", 200)
                return web.json_response(
                    body=msgspec.json.encode(
                        {
                            "apiVersion": review.api_version,
                            "kind": "AdmissionReview",
                            "response": {"uid": review.request.uid, **verdict},
                        }
                    )
                )
            except msgspec.MsgspecError as error:
                code = 400
                return web.Response(status=code, text=f"no AdmissionReview: {error}")
            except web.HTTPException as error:
                code = error.status
                raise
            finally:
                inflight.dec()
                self._metrics.webhook_requests.labels(name, str(code)).inc()
                self._metrics.webhook_seconds.labels(name).observe(time.monotonic() - started)

        return handle

    async def _guarded(
        self,
        webhook: Webhook,
        request: AdmissionRequest,
        answer: Callable[[Webhook, AdmissionRequest], Awaitable[Manifest]],
    ) -> Manifest:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await answer(webhook, request)
        except UndecodableError as error:
            return _denied(422, "Invalid", f"the object does not have the shape of its kind: {error}", ())
        except NotNow as later:
            return _denied(503, "ServiceUnavailable", str(later), ())
        except Exception:
            kind = kind_of(webhook.kind).kind
            log.exception("admission_crashed", kind=kind, uid=request.uid)
            if webhook.failure_policy == "Ignore":
                return {"allowed": True, "warnings": [f"{kind} was admitted unchecked: its webhook failed"]}
            message = (
                f"the webhook of {kind} failed; the controller's log has the reason under uid {request.uid}"
            )
            return _denied(500, "InternalError", message, ())

    @staticmethod
    async def _mutate(webhook: Webhook, request: AdmissionRequest) -> Manifest:
        obj = _decoded(webhook.kind, request.object)
        if obj is None or obj.metadata.deletion_timestamp:
            return {"allowed": True}
        ops: list[Mapping[str, Any]] = []
        if webhook.default is not None:
            # In a thread: a default may cost CPU (a password hash), and the loop renews the lease.
            ops += await asyncio.to_thread(webhook.default, obj)
        if webhook.stamp is not None:
            ops += webhook.stamp(obj, _decoded(webhook.kind, request.old_object), request.user_info)
        if not ops:
            return {"allowed": True}
        patch = msgspec.json.encode([dict(op) for op in ops])
        return {"allowed": True, "patchType": "JSONPatch", "patch": patch}  # bytes are sent as base64

    @staticmethod
    async def _validate(webhook: Webhook, request: AdmissionRequest) -> Manifest:
        obj = _decoded(webhook.kind, request.object)
        is_going = obj is not None and bool(obj.metadata.deletion_timestamp)
        if obj is None or (is_going and not webhook.going):
            return {"allowed": True}
        old = _decoded(webhook.kind, request.old_object)
        title = f"{kind_of(webhook.kind).kind} {obj.metadata.name or obj.metadata.generate_name} is refused: "
        if webhook.validate is not None and not is_going:
            violations = await asyncio.to_thread(webhook.validate, obj, old)
            if violations:
                return _denied(422, "Invalid", title + "; ".join(map(str, violations)), violations)
        if webhook.authorize is not None:
            lacks = await webhook.authorize(obj, old, request.user_info)
            if lacks:
                return _denied(403, "Forbidden", title + "; ".join(lacks), ())
        return await _allowed(webhook, request, obj, old)

    @staticmethod
    async def _delete(webhook: Webhook, request: AdmissionRequest) -> Manifest:
        old = _decoded(webhook.kind, request.old_object)
        if old is None or old.metadata.deletion_timestamp:
            return {"allowed": True}
        if webhook.retain is not None:
            reasons = await webhook.retain(old, request.user_info)
            if reasons:
                title = f"{kind_of(webhook.kind).kind} {old.metadata.name} is not deleted: "
                return _denied(403, "Forbidden", title + "; ".join(reasons), ())
        return await _allowed(webhook, request, None, old)


async def _allowed(
    webhook: Webhook, request: AdmissionRequest, new: Resource | None, old: Resource | None
) -> Manifest:
    """Yes; on a dry run with what the change would bring about."""
    if webhook.warn is None or not request.dry_run:
        return {"allowed": True}
    try:
        async with asyncio.timeout(WARN_WITHIN_S):
            found = await webhook.warn(new, old, request.user_info)
    except Exception:
        log.exception("preview_crashed", kind=kind_of(webhook.kind).kind, uid=request.uid)
        found = ("what this would change could not be worked out; the controller's log has the reason",)
    return (
        {"allowed": True, "warnings": [_cut(one) for one in found[:WARNINGS_MAX]]}
        if found
        else {"allowed": True}
    )


def _cut(text: str) -> str:
    return text if len(text) <= WARNING_MAX else f"{text[: WARNING_MAX - 3]}..."


def _decoded(kind: type[Resource], body: msgspec.Raw) -> Resource | None:
    return None if bytes(body) == b"null" else decoder_of(kind).decode(body)


def _denied(code: int, reason: str, message: str, violations: Sequence[Violation]) -> Manifest:
    causes = [
        {"reason": "FieldValueInvalid", "message": str(item), "field": item.field} for item in violations
    ]
    status: Manifest = {"code": code, "reason": reason, "message": message}
    if causes:
        status["details"] = {"causes": causes}
    return {"allowed": False, "status": status}
