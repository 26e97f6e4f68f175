"""Who may speak with a sink: ServiceAccounts by name, proved by a token for this audience (TokenReview)."""

import hashlib
import time
from collections.abc import Collection

import msgspec
from aiohttp import web

from edge_kube.client import Client

AUDIENCE = "edge-audit"
REMEMBERED_S = 30.0
REMEMBERED_MAX = 100


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _Status(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: _User = _User()
    audiences: tuple[str, ...] = ()


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class Doorkeeper:
    """allowed: full names, such as system:serviceaccount:edge-system:edge-apiserver."""

    def __init__(self, client: Client, allowed: Collection[str]) -> None:
        self._client = client
        self._allowed = frozenset(allowed)
        self._known: dict[bytes, float] = {}

    async def check(self, request: web.BaseRequest) -> None:
        """Raises HTTPUnauthorized, HTTPForbidden, KubeError when the API server cannot be asked."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise web.HTTPUnauthorized(text="a ServiceAccount token for audience edge-audit is needed\n")
        known, now_s = hashlib.sha256(token.encode()).digest(), time.monotonic()
        if self._known.get(known, 0) > now_s:
            return
        status = await self._review(token)
        if not status.authenticated or AUDIENCE not in status.audiences:
            raise web.HTTPUnauthorized(text="the token is not valid for audience edge-audit\n")
        if status.user.username not in self._allowed:
            raise web.HTTPForbidden(text=f"{status.user.username} keeps no records here\n")
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[known] = now_s + REMEMBERED_S

    async def _review(self, token: str) -> _Status:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        response = await self._client.raw("POST", path, data=msgspec.json.encode(body))
        async with response:
            answer = await response.read()
            if response.status not in (200, 201):
                raise web.HTTPServiceUnavailable(text="the API server did not review the token\n")
        return msgspec.json.decode(answer, type=_Review).status
