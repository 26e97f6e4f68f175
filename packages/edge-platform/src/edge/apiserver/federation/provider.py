"""An OpenID provider, spoken to as its client: where to send people, and who comes back (I13).

    provider = Provider(settings)
    url = await provider.address(attempt)             # of its sign-in page, for this attempt
    identity = await provider.identity(code, attempt)

Discovery and keys are kept for an hour; a token signed with an unknown key has them read again, at most once
in ten seconds. Source: design §9 "OIDC in"; OpenID Connect Core §3.1.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit

import structlog

from edge.apiserver.configuration.federation import OidcSettings, trust
from edge.apiserver.federation.fetch import Fetch, FetchFailed, is_refused_address
from edge.iam.federated import Identity
from edge.iam.idtokens import Claims, Expected, IdTokenRefused, Keys, UnknownKey, check_id_token
from edge.iam.logouttokens import LoggedOut, check_logout_token

PROVIDER: Final = "oidc"
KEPT_S: Final = 3600.0
AGAIN_S: Final = 10.0

T = TypeVar("T")

log = structlog.stdlib.get_logger("edge.apiserver")


class ProviderDown(Exception):
    """The provider cannot say who somebody is, now; the text is for the log."""


class NotVouched(Exception):
    """The provider did not vouch for who came back; the text is for the log."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in under way. verifier: of PKCE (RFC 7636)."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What discovery told, and the keys of then."""

    endpoints: Mapping[str, Any]
    keys: Keys
    at_s: float


class Provider:
    def __init__(self, settings: OidcSettings, now_s: Callable[[], float] = time.monotonic) -> None:
        """now_s: seconds of a clock that never goes back."""
        self._now_s = now_s
        self._settings = settings
        host = urlsplit(settings.issuer_url).hostname or ""
        loopback = _is_loopback(host)
        self._fetch = Fetch(
            trust(settings.certificate_authority), plain=settings.insecure or loopback, loopback=loopback
        )
        self._known: _Known | None = None
        self._tried_s = -AGAIN_S
        self._reading = asyncio.Lock()

    async def close(self) -> None:
        await self._fetch.close()

    async def address(self, attempt: Attempt, *, anew: bool = False) -> str:
        """Where a browser is sent for this attempt. anew: who is known there is asked again, all the same.

        Raises ProviderDown.
        """
        settings, known = self._settings, await self._discovered()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": settings.redirect_url,
            "scope": " ".join(("openid", *settings.scopes)),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        if anew:
            query["prompt"] = "login"
        endpoint = str(known.endpoints["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def identity(self, code: str, attempt: Attempt, issuer: str, now_s: float) -> Identity:
        """Who came back with this code. issuer: as the answer named it (RFC 9207), or "".

        Raises NotVouched, ProviderDown.
        """
        known = await self._discovered()
        if known.endpoints.get("authorization_response_iss_parameter_supported") is True and not issuer:
            raise NotVouched("the answer does not say which provider it is from")
        if issuer and issuer != self._settings.issuer_url:
            raise NotVouched(f"the answer is from another provider: {issuer[:200]!r}")
        tokens = await self._swapped(known, code, attempt)
        claims = await self._checked(str(tokens.get("id_token", "")), attempt.nonce, now_s)
        return self._identity(await self._with_userinfo(known, claims, tokens))

    async def logged_out(self, token: str, now_s: float) -> LoggedOut:
        """Who has left there, by a logout token. Raises NotVouched, ProviderDown."""
        issuer, client = self._settings.issuer_url, self._settings.client_id
        return await self._judged(
            "logout", lambda keys: check_logout_token(token, keys, issuer, client, now_s)
        )

    async def _swapped(self, known: _Known, code: str, attempt: Attempt) -> Mapping[str, Any]:
        settings = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect_url,
            "code_verifier": attempt.verifier,
        }
        secret, headers = settings.client_secret.reveal(), dict[str, str]()
        found = known.endpoints.get("token_endpoint_auth_methods_supported")
        ways = cast("list[object]", found) if isinstance(found, list) else []
        if "client_secret_basic" in ways or "client_secret_post" not in ways:
            pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": settings.client_id, "client_secret": secret}
        status, answer = await self._ask("POST", "token_endpoint", known, headers=headers, form=form)
        if status != 200:
            raise NotVouched(f"the code was refused: {str(answer.get('error', status))[:80]}")
        return answer

    async def _checked(self, token: str, nonce: str, now_s: float) -> Claims:
        settings = self._settings
        expected = Expected(settings.issuer_url, settings.client_id, nonce)
        return await self._judged("ID", lambda keys: check_id_token(token, keys, expected, now_s))

    async def _judged(self, what: str, check: Callable[[Keys], T]) -> T:
        """By the keys that are known, and by those of now where one is new."""
        try:
            try:
                return check((await self._discovered()).keys)
            except UnknownKey:
                return check((await self._discovered(renew=True)).keys)
        except IdTokenRefused as error:
            raise NotVouched(f"the {what} token was refused: {error}") from None

    async def _with_userinfo(self, known: _Known, claims: Claims, tokens: Mapping[str, Any]) -> Claims:
        """What the ID token leaves out, from the userinfo endpoint, if that is about the same person."""
        wanted = {self._settings.username_claim, self._settings.groups_claim} - {""}
        if wanted <= claims.keys() or not known.endpoints.get("userinfo_endpoint"):
            return claims
        headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}"}
        status, more = await self._ask("GET", "userinfo_endpoint", known, headers=headers)
        if status != 200:
            log.warning("userinfo_refused", status=status)
            return claims
        if more.get("sub") != claims["sub"]:
            raise NotVouched("the userinfo endpoint answered about somebody else")
        return {**more, **claims}

    def _identity(self, claims: Claims) -> Identity:
        settings = self._settings
        groups = claims.get(settings.groups_claim) if settings.groups_claim else None
        listed = cast("list[object]", groups) if isinstance(groups, list) else [groups]
        return Identity(
            provider=PROVIDER,
            issuer=settings.issuer_url,
            subject=claims["sub"],
            name=_text(claims.get(settings.username_claim)),
            display_name=_text(claims.get("name")),
            email=_text(claims.get("email")) if claims.get("email_verified") is True else "",
            groups=tuple(one for one in listed if isinstance(one, str)),
            session=_text(claims.get("sid")),
        )

    async def _discovered(self, *, renew: bool = False) -> _Known:
        kept_s = AGAIN_S if renew else KEPT_S
        if self._known is not None and self._now_s() - self._known.at_s < kept_s:
            return self._known
        async with self._reading:  # who comes meanwhile waits for what is being read
            return await self._read_again(renew=renew, kept_s=kept_s)

    async def _read_again(self, *, renew: bool, kept_s: float) -> _Known:
        now_s, known = self._now_s(), self._known
        if known is not None and now_s - known.at_s < kept_s:
            return known
        if now_s - self._tried_s < AGAIN_S:
            # It was asked a moment ago, without success: what is known of it is used, and nobody waits again.
            if known is None or renew:
                raise ProviderDown("the provider did not answer a moment ago")
            return known
        self._tried_s = now_s
        try:
            self._known = await self._read(now_s)
        except (FetchFailed, ProviderDown) as error:
            log.warning("provider_down", issuer=self._settings.issuer_url, error=str(error))
            if known is None or renew:
                raise ProviderDown(str(error)) from None
            return known
        return self._known

    async def _read(self, now_s: float) -> _Known:
        issuer = self._settings.issuer_url
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        status, found = await self._fetch.json("GET", url)
        if status != 200 or found.get("issuer") != issuer:
            raise ProviderDown(f"{url} is about {str(found.get('issuer', status))[:200]!r}")
        missing = [name for name in _NEEDED if not isinstance(found.get(name), str)]
        if missing:
            raise ProviderDown(f"{url} lacks {', '.join(missing)}")
        status, published = await self._fetch.json("GET", found["jwks_uri"])
        keys = published.get("keys")
        if status != 200 or not isinstance(keys, list):
            raise ProviderDown(f"{found['jwks_uri']} has no keys")
        every = cast("list[object]", keys)
        return _Known(
            found, [cast("Mapping[str, Any]", key) for key in every if isinstance(key, dict)], now_s
        )

    async def _ask(
        self, method: str, endpoint: str, known: _Known, **what: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        try:
            return await self._fetch.json(method, str(known.endpoints[endpoint]), **what)
        except FetchFailed as error:
            log.warning("provider_down", issuer=self._settings.issuer_url, error=str(error))
            raise ProviderDown(str(error)) from None


_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return is_refused_address(host, loopback=False) and not is_refused_address(host, loopback=True)
    except ValueError:
        return False
