"""The HTTP application: request id, credentials, size limit, dispatch, errors, metrics."""

import asyncio
import base64
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import unquote

import structlog
from aiohttp import web

from edge.museum.answers import Refused, document, too_large
from edge.museum.catalog import Catalog
from edge.museum.handlers import Handlers
from edge.museum.metrics import Metrics
from edge.museum.routing import Target, route
from edge.museum.settings import Settings

log = structlog.stdlib.get_logger("edge.museum")

Action = Callable[[web.Request, Target], Awaitable[web.StreamResponse]]


def build(settings: Settings) -> web.Application:
    """The application; opens the storage when it starts."""
    catalog = Catalog(settings)
    server = _Server(settings, Handlers(settings, catalog, metrics := Metrics()), metrics)
    # The limit is checked by us first, with upstream's answer; aiohttp's own is the net below it.
    app = web.Application(client_max_size=settings.max_upload_size)
    app.router.add_route("*", "/{path:.*}", server.answer)

    async def start(_: web.Application) -> None:
        await catalog.open()

    app.on_startup.append(start)
    return app


class _Server:
    def __init__(self, settings: Settings, handlers: Handlers, metrics: Metrics) -> None:
        self._settings = settings
        self._handlers = handlers
        self._metrics = metrics

    async def answer(self, request: web.Request) -> web.StreamResponse:
        started_s = time.perf_counter()
        request_id = request.headers.get("X-Request-Id", "")[:128] or secrets.token_hex(8)
        target = self._target(request)
        try:
            response = await self._respond(request, target)
        except Refused as error:
            response = document(error.body, error.code, error.headers)
        except TimeoutError:
            response = document({"error": "the request took too long (READ_TIMEOUT + WRITE_TIMEOUT)"}, 408)
            response.force_close()
        except web.HTTPRequestEntityTooLarge:
            response = too_large()
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("request_failed", request_id=request_id, method=request.method, path=request.path)
            response = document({"error": f"internal error, see the log for request {request_id}"}, 500)
        response.headers["X-Request-Id"] = request_id
        if self._settings.cors_alloworigin:
            response.headers["Access-Control-Allow-Origin"] = self._settings.cors_alloworigin
        self._count(request, target, response.status, time.perf_counter() - started_s, request_id)
        return response

    def _target(self, request: web.Request) -> Target | None:
        settings = self._settings
        target = route(
            request.method,
            unquote(request.rel_url.raw_path),
            context_path=settings.context_path,
            depth=settings.depth,
            dynamic=settings.depth_dynamic,
        )
        if target is None:
            return None
        is_api = target.action not in _OUTSIDE_API
        if (is_api and settings.disable_api) or (target.action == "delete" and settings.disable_delete):
            return None
        return target

    async def _respond(self, request: web.Request, target: Target | None) -> web.StreamResponse:
        if target is None or not target.anonymous:
            self._authorize(request, push=target is not None and target.push)
        if target is None:
            raise Refused(404, "not found")
        limit = self._settings.max_upload_size
        if target.push and (request.content_length or 0) > limit:
            return too_large()
        action = cast("Action", getattr(self._handlers, target.action))
        async with asyncio.timeout(self._settings.read_timeout + self._settings.write_timeout or None):
            return await action(request, target)

    def _authorize(self, request: web.Request, *, push: bool) -> None:
        settings = self._settings
        if not settings.basic_auth_user or (settings.auth_anonymous_get and not push):
            return
        wanted = f"{settings.basic_auth_user}:{settings.basic_auth_pass}".encode()
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        try:
            presented = base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
        except ValueError:
            presented = b""
        if not hmac.compare_digest(presented, wanted):
            challenge = f'Basic realm="{settings.auth_realm}"'
            raise Refused(401, "unauthorized", headers={"WWW-Authenticate": challenge})

    def _count(
        self, request: web.Request, target: Target | None, code: int, seconds: float, request_id: str
    ) -> None:
        action = target.action if target else "none"
        self._metrics.requests.labels(str(code), request.method).inc()
        self._metrics.duration.labels(action).observe(seconds)
        if target and target.action in ("health", "ready") and not self._settings.log_health:
            return
        emit = log.info if (target and target.push) or code >= 500 else log.debug
        emit(
            "request_answered", request_id=request_id, method=request.method, path=request.path, code=code,
            duration_ms=round(seconds * 1000, 1),
        )  # fmt: skip


_OUTSIDE_API = {"welcome", "info", "health", "ready", "metrics", "artifact_hub", "index", "file"}
