"""What a program asks for when it sends somebody to /oauth/authorize (RFC 6749 §4.1, RFC 7636). Pure.

Two kinds of wrong: without a client and an address of that client, nobody is sent anywhere (PageError); after
that, the program is told (RedirectError).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from edge.iam.oauthclients import CODE, OAuthClient

SCOPES: Final = ("openid", "profile", "email", "groups", "offline_access")
PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
STATE_MAX: Final = 2000
NONCE_MAX: Final = 500

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")

PARAMETERS: Final = (
    "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
    "code_challenge_method", "response_mode", "prompt", "max_age",
)  # fmt: skip
"""Those that count; others are not looked at, as the standard says."""

Pairs = Sequence[tuple[str, str]]


class PageError(Exception):
    """Shown to the person. what, and what to do."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(what)
        self.do = do


class RedirectError(Exception):
    """Sent to the program at `uri`. error: a code of RFC 6749 §4.1.2.1 or OIDC core §3.1.2.6."""

    def __init__(self, uri: str, state: str, error: str, description: str) -> None:
        super().__init__(description)
        self.uri = uri
        self.state = state
        self.error = error


@dataclass(frozen=True, slots=True)
class AuthorizeRequest:
    """max_age_s: how long ago the person may have signed in, None as long as the gateway lets."""

    client: OAuthClient
    redirect_uri: str
    challenge: str
    state: str = ""
    nonce: str = ""
    scope: str = ""
    prompt: frozenset[str] = frozenset()
    max_age_s: float | None = None

    @property
    def needs_consent(self) -> bool:
        """Whether somebody who is signed in must say that it was them who began this (RFC 8252 §8.6)."""
        return not self.client.is_vouched_for_at(self.redirect_uri)


def read_request(pairs: Pairs, find: Callable[[str], OAuthClient | None]) -> AuthorizeRequest:
    """Raises PageError, then RedirectError."""
    values = {name: value for name, value in pairs if value}  # one without a value is none (RFC 6749 §3.1)
    client, uri = _place(pairs, values, find)
    state = values.get("state", "")

    def refused(error: str, description: str) -> RedirectError:
        return RedirectError(uri, state if len(state) <= STATE_MAX else "", error, description)

    twice = [name for name in PARAMETERS if sum(name == given for given, _ in pairs) > 1]
    if twice:
        raise refused("invalid_request", f"{twice[0]} is given twice")
    if len(state) > STATE_MAX or len(values.get("nonce", "")) > NONCE_MAX:
        raise refused("invalid_request", f"state has at most {STATE_MAX} characters, nonce {NONCE_MAX}")
    for name in ("request", "request_uri"):
        if name in values:
            raise refused(f"{name}_not_supported", f"{name} is not supported; send plain parameters")
    if values.get("response_type") != "code":
        known = "unsupported_response_type" if values.get("response_type") else "invalid_request"
        raise refused(known, 'response_type must be "code"')
    if values.get("response_mode", "query") != "query":
        raise refused("invalid_request", 'response_mode must be "query"')
    if CODE not in client.grants:
        raise refused("unauthorized_client", f"this client may not use the grant {CODE}")
    wrong = _challenge_wrong(values) or (_unbound(values) if client.is_console else "")
    if wrong:
        raise refused("invalid_request", wrong)
    prompt, max_age_s = _when(values, refused)
    return AuthorizeRequest(
        client=client,
        redirect_uri=uri,
        challenge=values["code_challenge"],
        state=state,
        nonce=values.get("nonce", ""),
        scope=known_scopes(values.get("scope", "")),
        prompt=prompt,
        max_age_s=max_age_s,
    )


def known_scopes(asked: str) -> str:
    """Of what a program asks for, that which means something here: nothing else is told as given."""
    words = set(asked.split())
    return " ".join(scope for scope in SCOPES if scope in words)


def _place(
    pairs: Pairs, values: dict[str, str], find: Callable[[str], OAuthClient | None]
) -> tuple[OAuthClient, str]:
    """The client, and the address that it may be answered at. Raises PageError."""
    for name in ("client_id", "redirect_uri"):
        if name not in values or sum(name == given for given, _ in pairs) != 1:
            raise PageError(f"The address that brought you here has no {name}, or has it twice.", ASK)
    client = find(values["client_id"])
    if client is None:
        raise PageError("The program that sent you here is not known to this platform.", ASK)
    if not client.may_return_to(values["redirect_uri"]):
        raise PageError(
            f'The program "{client.id}" wants you to be sent to an address that is not one of its own.', ASK
        )
    return client, values["redirect_uri"]


ASK: Final = "Go back to the program and try again. If that does not help, tell those who run it."


def _challenge_wrong(values: dict[str, str]) -> str:
    if not values.get("code_challenge"):
        return "code_challenge is missing: this server needs PKCE from every client"
    if values.get("code_challenge_method") != "S256":
        return 'code_challenge_method must be "S256"'
    if _CHALLENGE.fullmatch(values["code_challenge"]) is None:
        return "code_challenge is not the base64url of a SHA-256"
    return ""


def _unbound(values: dict[str, str]) -> str:
    """Of our own console, whose pages sign people in: an answer belongs to the browser that asked for it."""
    if "state" not in values:
        return "state is missing: it ties the answer to the browser that asked"
    if "openid" in values.get("scope", "").split() and "nonce" not in values:
        return "nonce is missing: it ties the ID token to this sign-in"
    return ""


def _when(
    values: dict[str, str], refused: Callable[[str, str], RedirectError]
) -> tuple[frozenset[str], float | None]:
    prompt = frozenset(values.get("prompt", "").split())
    if prompt - PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise refused("invalid_request", f"prompt is none alone, or some of {', '.join(sorted(PROMPTS))}")
    if "max_age" not in values:
        return prompt, None
    if not re.fullmatch(r"[0-9]{1,9}", values["max_age"]):
        raise refused("invalid_request", "max_age must be a number of seconds")
    return prompt, float(values["max_age"])


def verifier_matches(verifier: str, challenge: str) -> bool:
    """RFC 7636 §4.6, S256, in constant time."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
