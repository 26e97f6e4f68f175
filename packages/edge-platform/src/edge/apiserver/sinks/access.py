"""Who may speak with a sink (O6): gateways, and other sinks, which only read what they missed.

A ServiceAccount is proved by a token for this audience (TokenReview). A token is also known to each sink that
it was sent to; so a gateway's request is signed as well, with a key that no sink can read.
"""

import asyncio
import hashlib
import time
from collections.abc import Collection, Mapping
from typing import Final

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from yarl import URL

from edge.apiserver.auditing.key import known_keys
from edge.apiserver.sinks.signed import HEADER, authority, is_signed, named
from edge.audit.folder import Folder
from edge.audit.statements import key_name, read_public
from edge_kube.client import Client

AUDIENCE: Final = "edge-audit"
REMEMBERED_S: Final = 30.0
REMEMBERED_MAX: Final = 100
LOOK_AGAIN_S: Final = 0.2
"""Whoever makes up names of keys has the API server asked this often at most."""


class _User(msgspec.Struct, frozen=True):
    username: str = ""


class _Status(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: _User = _User()
    audiences: tuple[str, ...] = ()


class _Review(msgspec.Struct, frozen=True):
    status: _Status = _Status()


class GatewayKeys:
    """The public keys of gateways, as these publish them; kept in the folder too, beside what they signed."""

    def __init__(self, client: Client, namespace: str, folder: Folder) -> None:
        self._client, self._namespace, self._folder = client, namespace, folder
        self._looked_s = float("-inf")
        self.known: Mapping[str, Ed25519PublicKey] = {}

    async def refresh(self) -> None:
        """Raises KubeError, OSError, ValueError for what is no key."""
        self._looked_s = time.monotonic()
        keys = [read_public(text) for text in await known_keys(self._client, self._namespace)]
        for key in keys:
            await asyncio.to_thread(self._folder.add_key, key)
        self.known = {key_name(key): key for key in keys}

    async def look_for(self, name: str) -> None:
        """One that is not known may have been published since. Raises as `refresh`."""
        if name not in self.known and time.monotonic() - self._looked_s > LOOK_AGAIN_S:
            await self.refresh()


class Doorkeeper:
    """gateways, peers: full names, such as system:serviceaccount:edge-system:edge-apiserver.

    address: what gateways call this sink, as https://HOST:PORT; a request that was signed for another one is
    refused. "": whatever the request says.
    """

    def __init__(
        self,
        client: Client,
        keys: GatewayKeys,
        *,
        gateways: Collection[str],
        peers: Collection[str],
        address: str = "",
    ) -> None:
        self._client = client
        self._keys = keys
        self._gateways, self._peers = frozenset(gateways), frozenset(peers)
        self._address = address
        self._known: dict[bytes, tuple[str, float]] = {}

    async def check(self, request: web.BaseRequest, *, peers_may: bool) -> None:
        """Raises HTTPUnauthorized, HTTPForbidden, KubeError when the API server cannot be asked."""
        user = await self._account(request)
        if user in self._gateways:
            await self._check_signature(request)
        elif not peers_may or user not in self._peers:
            raise web.HTTPForbidden(text=f"{user} may not do that here\n")

    async def _account(self, request: web.BaseRequest) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise web.HTTPUnauthorized(text="a ServiceAccount token for audience edge-audit is needed\n")
        known, now_s = hashlib.sha256(token.encode()).digest(), time.monotonic()
        user, until_s = self._known.get(known, ("", 0.0))
        if until_s > now_s:
            return user
        status = await self._review(token)
        if not status.authenticated or AUDIENCE not in status.audiences:
            raise web.HTTPUnauthorized(text="the token is not valid for audience edge-audit\n")
        user = status.user.username
        if user in self._gateways | self._peers:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[known] = user, now_s + REMEMBERED_S
        return user

    async def _check_signature(self, request: web.BaseRequest) -> None:
        header = request.headers.get(HEADER, "")
        await self._keys.look_for(named(header))
        to = authority(URL(self._address or f"https://{request.host}"))
        signed = is_signed(
            header,
            self._keys.known,
            method=request.method,
            to=to,
            path=request.raw_path,
            body=await request.read(),
        )
        if not signed:
            raise web.HTTPUnauthorized(
                text=f"a gateway signs its requests to {to} in {HEADER}, with a key of ConfigMap"
                " edge-audit-keys\n"
            )

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
