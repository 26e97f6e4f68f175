"""One sink over HTTPS, as gateways and other sinks use it. What cannot be reached is an OSError."""

import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from edge.apiserver.sinks.signed import HEADER, sign
from edge.audit.query import Page, Query
from edge.audit.received import NotTakenError, State
from edge.audit.record import Record
from edge.audit.verdict import Verdict
from edge.audit.verify import Report
from edge_kube.once import sent_once

WITHIN_S: Final = 5.0
SLOWLY_S: Final = 600.0
"""Verification reads everything."""
TOKEN_FRESH_S: Final = 30.0
T = TypeVar("T")


class Refusal(msgspec.Struct, frozen=True):
    """Body of a 409 or 507."""

    reason: str = "malformed"
    why: str = ""


class Aged(msgspec.Struct, frozen=True):
    """The end of what may go of a chain: its time is over. newest: ms since 1970 of that record."""

    chain: str
    seq: int
    digest: str
    newest: int


class TokenFile:
    """A token that the kubelet keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._read_s = float("-inf")

    def text(self) -> str:
        """Raises OSError."""
        if time.monotonic() - self._read_s > TOKEN_FRESH_S:
            self._text = self._path.read_text().strip()
            self._read_s = time.monotonic()
        return self._text


class SinkClient:
    """tls: trusts who signed for the sinks. key: a gateway's, that signs requests; None: of another sink."""

    def __init__(
        self, url: str, token: TokenFile, tls: ssl.SSLContext, key: Ed25519PrivateKey | None = None
    ) -> None:
        self.name = url
        self._key = key
        self._token = token
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def state(self, chain: str) -> State:
        """For its writer: it counts as alive from here on."""
        return self._read(await self._call("GET", f"/chains/{chain}"), State)

    async def states(self, chain: str = "") -> dict[str, State]:
        """Of all chains, or of one if it is there. Asking is no sign of life of a writer, as `state` is."""
        params = {"chain": chain} if chain else None
        return self._read(await self._call("GET", "/chains", params), dict[str, State])

    async def append(self, chain: str, lines: bytes) -> State:
        return self._read(await self._call("POST", f"/chains/{chain}/records", data=lines), State)

    async def sign(self, chain: str, first: int, statements: bytes) -> State:
        path, params = f"/chains/{chain}/statements", {"first": str(first)}
        return self._read(await self._call("POST", path, params, data=statements), State)

    async def records(self, chain: str, after: int) -> bytes:
        return await self._call("GET", f"/chains/{chain}/records", {"after": str(after)})

    async def statements(self, chain: str, first: int) -> bytes:
        return await self._call("GET", f"/chains/{chain}/statements", {"first": str(first)})

    async def left(self, by: str) -> dict[str, State]:
        """Chains whose writer is gone; the caller has them for a while to itself."""
        return self._read(await self._call("POST", "/left", {"by": by}), dict[str, State])

    async def open_intents(self, chain: str) -> list[Record]:
        return self._read(await self._call("GET", f"/chains/{chain}/open"), list[Record])

    async def aged(self) -> list[Aged]:
        return self._read(await self._call("GET", "/aged"), list[Aged])

    async def search(self, query: Query) -> Page:
        params = {key: str(value) for key, value in query._asdict().items() if value}
        return self._read(await self._call("GET", "/search", params), Page)

    async def verification(self, anchors: Sequence[bytes]) -> Report:
        lines = b"".join(line.rstrip(b"\n") + b"\n" for line in anchors)
        answer = await self._call("POST", "/verification", data=lines, within_s=SLOWLY_S)
        return self._read(answer, Report)

    async def verdict(self) -> Verdict:
        """What its last verification found."""
        return self._read(await self._call("GET", "/verification"), Verdict)

    def _read(self, body: bytes, type_: type[T]) -> T:
        """Raises OSError: a sink of another version, or something in between, is as good as away."""
        try:
            return msgspec.json.decode(body, type=type_)
        except msgspec.MsgspecError as error:
            raise OSError(f"{self.name} answered something else: {error}") from error

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        data: bytes | None = None,
        within_s: float = WITHIN_S,
    ) -> bytes:
        """Raises NotTakenError; OSError for everything else that is not an answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                middlewares=(sent_once,), cookie_jar=aiohttp.DummyCookieJar()
            )
        headers = {"Authorization": f"Bearer {self._token.text()}"}
        url = URL(f"{self.name}/v1{path}").with_query(params)
        if self._key is not None:
            headers[HEADER] = sign(self._key, method, url, data or b"")
        try:
            async with self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                ssl=self._tls,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=within_s),
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{self.name}: {error or type(error).__name__}") from error
        if answer.status in (409, 507):
            refusal = self._read(body, Refusal)
            raise NotTakenError(refusal.reason, refusal.why)
        if answer.status != 200:
            raise OSError(
                f"{self.name} answered {answer.status}: {body[:200].decode(errors='replace').strip()}"
            )
        return body
