"""Tenants of the platform's etcd: a user and a role per virtual cluster, over etcd's JSON gateway (R23).

A tenant signs in with its client certificate, whose common name is its user. The gateway refuses clients
with a common name, so here a nameless certificate of the same authority opens the connection, and the root
user signs in by password.
"""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from edge.clusters.ports import StoreAccess, StoreUnavailableError

REQUEST_DEADLINE_S = 10.0
ROOT = "root"


class _RefusedError(Exception):
    """etcd's own answer to a request it did not carry out."""


class EtcdTenants:
    """Implements `edge.clusters.ports.Stores`."""

    async def admit(self, access: StoreAccess, user: str, prefix: str) -> None:
        async with _Session(access) as session:
            await session.sign_in()
            role = user
            await session.call(
                "auth/user/add", {"name": user, "options": {"no_password": True}}, fine=_EXISTS
            )
            await session.call("auth/role/add", {"name": role}, fine=_EXISTS)
            begin, end = _range(prefix)
            permission = {"permType": "READWRITE", "key": begin, "range_end": end}
            await session.call("auth/role/grant", {"name": role, "perm": permission})
            await session.call("auth/user/grant", {"user": user, "role": role}, fine=_EXISTS)

    async def expel(self, access: StoreAccess, user: str, prefix: str) -> int:
        async with _Session(access) as session:
            await session.sign_in()
            # The user first: what still runs of the tenant cannot write keys behind our back.
            await session.call("auth/user/delete", {"name": user}, fine=_MISSING)
            await session.call("auth/role/delete", {"role": user}, fine=_MISSING)
            begin, end = _range(prefix)
            await session.call("kv/deleterange", {"key": begin, "range_end": end})
            left = await session.call("kv/range", {"key": begin, "range_end": end, "count_only": True})
            return int(left.get("count", 0))


_EXISTS = ("already exists", "already granted")
_MISSING = ("not found",)


def _range(prefix: str) -> tuple[str, str]:
    """Base64 of the first key below a prefix and of the first key after it."""
    begin = f"{prefix}/".encode()
    return _b64(begin), _b64(begin[:-1] + bytes([begin[-1] + 1]))


class _Session:
    """Requests to the gateway, as root once signed in."""

    def __init__(self, access: StoreAccess) -> None:
        self._access = access
        self._http: aiohttp.ClientSession | None = None
        self._token = ""

    async def __aenter__(self) -> "_Session":
        connector = aiohttp.TCPConnector(ssl=_context(self._access), limit=4)
        limit = aiohttp.ClientTimeout(total=REQUEST_DEADLINE_S)
        self._http = aiohttp.ClientSession(connector=connector, timeout=limit)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def sign_in(self) -> None:
        """Sign in as root; a fresh etcd gets its root user, and authentication is turned on, first."""
        credentials = {"name": ROOT, "password": self._access.password}
        # The gateway leaves false out; a refusal for want of a user means that it is on.
        told = await self.call("auth/status", {}, fine=("user name is empty",))
        if told and not told.get("enabled"):
            await self.call("auth/user/add", credentials, fine=_EXISTS)
            await self.call("auth/role/add", {"name": ROOT}, fine=_EXISTS)
            await self.call("auth/user/grant", {"user": ROOT, "role": ROOT}, fine=_EXISTS)
            await self.call("auth/enable", {})
        self._token = str((await self.call("auth/authenticate", credentials))["token"])

    async def call(self, path: str, body: Mapping[str, Any], *, fine: tuple[str, ...] = ()) -> dict[str, Any]:
        """POST /v3/<path>. fine: parts of refusals that mean it is so already; they answer with {}."""
        try:
            return await self._post(path, body)
        except _RefusedError as refused:
            if any(part in str(refused) for part in fine):
                return {}
            message = f"the platform's etcd at {self._access.endpoint} refused {path}: {refused}"
            raise StoreUnavailableError(message) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = str(error) or type(error).__name__
            raise StoreUnavailableError(
                f"the platform's etcd at {self._access.endpoint} does not answer: {what}"
            ) from error

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._http is None:
            raise RuntimeError("the session is not open")
        headers = {"Authorization": self._token} if self._token else {}
        url = f"{self._access.endpoint}/v3/{path}"
        # Concurrent changes of users move the auth revision, and etcd asks to try again.
        for pause_s in (0.05, 0.2, 0.5, None):
            async with self._http.post(url, json=body, headers=headers) as answer:
                text = await answer.text()
                if answer.status == 200:
                    return dict(json.loads(text))
            if "revision of auth store is old" not in text or pause_s is None:
                raise _RefusedError(_message(text))
            await asyncio.sleep(pause_s)
            if self._token:
                headers = {"Authorization": await self._renew()}
        raise _RefusedError("tried too often")

    async def _renew(self) -> str:
        self._token = ""
        credentials = {"name": ROOT, "password": self._access.password}
        self._token = str((await self._post("auth/authenticate", credentials))["token"])
        return self._token


def _message(text: str) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(text)["message"])
    return text[:300]


def _context(access: StoreAccess) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=access.authority.decode("ascii"))
    # OpenSSL reads chains from files only; an anonymous one keeps the key off the disk.
    descriptor = os.memfd_create("etcd-client", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, access.client.cert + b"\n" + access.client.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
