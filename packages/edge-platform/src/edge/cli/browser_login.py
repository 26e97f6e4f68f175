"""Signing in with a browser: the code flow with PKCE, answered on this machine (RFC 8252, 7636, 9207).

    tokens, user = await sign_in(edge, client, opens=True)

The password, or the provider's page, is between the person and the gateway: this process sees neither.
"""

import asyncio
import base64
import hashlib
import secrets
import sys
import threading
import webbrowser
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from edge.cli.errors import CommandError
from edge.cli.loopback import Loopback
from edge_sdk.client import EdgeClient
from edge_sdk.client.errors import Unreachable
from edge_sdk.client.http import FORM
from edge_sdk.client.models.shared import Token, UserInfo

WAIT_S: Final = 300.0
SCOPE: Final = "openid profile"
DISCOVERY: Final = "/.well-known/oauth-authorization-server"
OTHERWISE: Final = "Without a browser on this machine, sign in with a password: `edge login -u NAME`."
SHOWN_MAX: Final = 300


class Metadata(msgspec.Struct):
    """What the gateway says of itself (RFC 8414), as far as it is needed here."""

    issuer: str


async def sign_in(
    edge: EdgeClient, client: Mapping[str, str], *, opens: bool, wait_s: float = WAIT_S
) -> tuple[Token, str]:
    """Tokens, and whose they are. client: client_id, and client_secret where it has one.

    opens: whether a browser is started; else the address is only printed. Raises CommandError, CallError.
    """
    issuer = (await edge.call("GET", DISCOVERY, Metadata)).issuer
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    async with Loopback(state) as back:
        query = _query(client["client_id"], back.uri, state, verifier)
        await _try(edge, query, client["client_id"])
        if not back.answered:
            _send(f"{edge.server}/oauth/authorize?{urlencode(query)}", opens=opens)
        try:
            async with asyncio.timeout(wait_s):
                answer = await back.answer()
        except TimeoutError:
            raise CommandError(
                f"Nobody has signed in within {wait_s:g} s, so nothing was changed. The browser has to run on"
                f" this very machine. {OTHERWISE}"
            ) from None
        form = {
            "grant_type": "authorization_code",
            "code": code_in(answer, issuer),
            "code_verifier": verifier,
            "redirect_uri": back.uri,
            **client,
        }
        token = await edge.call("POST", "/oauth/token", Token, body=form, body_as=FORM)
    bearer = {"Authorization": f"Bearer {token.access_token}"}
    return token, (await edge.call("GET", "/oauth/userinfo", UserInfo, headers=bearer)).sub


def code_in(answer: Mapping[str, str], issuer: str) -> str:
    """The code that an answer brings. Raises CommandError."""
    if answer.get("iss") != issuer:
        raise CommandError(
            f'The answer came from "{_shown(answer.get("iss", ""))}" and not from "{issuer}", so nobody was'
            " signed in. Begin again; if it happens again, tell those who run the gateway."
        )
    error = answer.get("error", "")
    if error == "access_denied":
        raise CommandError("Nobody was signed in: that was the answer in the browser.")
    if error:
        why = _shown(answer.get("error_description", "")) or "it says no more"
        raise CommandError(f"The gateway signed nobody in: {_shown(error)}: {why}.")
    if not answer.get("code"):
        raise CommandError(
            "The answer has no code, so nobody was signed in. Begin again: `edge login --browser`."
        )
    return answer["code"]


def _query(client_id: str, uri: str, state: str, verifier: str) -> dict[str, str]:
    digest = hashlib.sha256(verifier.encode()).digest()
    return {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": uri,
        "scope": SCOPE,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


async def _try(edge: EdgeClient, query: Mapping[str, str], client_id: str) -> None:
    """Ask for the page once before a person does: what is wrong with the client is told here and not there.

    What the gateway has against the question itself comes back as an answer, as it would with a browser.
    """
    try:
        await edge.send("GET", "/oauth/authorize", query=query)
    except Unreachable as error:
        if error.http_status == 0:
            raise
        if error.http_status != 400:
            raise CommandError(
                f"The gateway has no sign-in page to show now: it answered {error.http_status}."
                " Try again in a minute."
            ) from None
        raise CommandError(
            f'The gateway does not let "{client_id}" sign people in with a browser on this machine: there is'
            " no such client (authentication.oauth.commandLine is the switch of edge-cli), or people may not"
            f" come back here from it. {OTHERWISE}"
        ) from None


def _send(address: str, *, opens: bool) -> None:
    print(
        f"Sign in here, in a browser on this machine, within {WAIT_S / 60:.0f} minutes:\n\n  {address}\n",
        flush=True,
    )
    if opens:
        # A browser of the terminal holds up whoever opens it, and must not hold up the end of this process.
        threading.Thread(target=_open, args=(address,), daemon=True).start()


def _open(address: str) -> None:
    try:
        opened = webbrowser.open(address)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print(
            f"No browser could be opened: open the address yourself. {OTHERWISE}", file=sys.stderr, flush=True
        )


def _shown(text: str) -> str:
    """Text from outside, for a terminal: no control characters, and not without end."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:SHOWN_MAX])
