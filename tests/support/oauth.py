"""OAuth clients for tests: made as Secrets, the way the platform keeps them."""

import asyncio
from dataclasses import replace

from tests.support.browser import Pkce
from tests.support.gateway import Answer, RunningGateway

from edge.iam.oauthclients import (
    CREDENTIALS,
    SECRET_PREFIX,
    OAuthClient,
    hash_secret,
    new_secret,
    record_of,
)
from edge_kube.client import Client
from edge_kube.core import Secret

WIKI = "https://wiki.example.com/oauth?from=edge"
CONSOLE = "https://edge.example.com/sign-in/callback"


async def make_client(kube: Client, gateway: RunningGateway, client: OAuthClient) -> str:
    """Its secret ("" for a public one), once the gateway knows it."""
    secret = "" if client.public else new_secret()
    hashed = "" if client.public else hash_secret(secret)
    await kube.create(record_of(replace(client, secret_hash=hashed), "edge-system"), manager="test")
    await knows_client(gateway, client.id)
    return secret


async def knows_client(gateway: RunningGateway, id_: str, *, gone: bool = False) -> None:
    async with asyncio.timeout(60):
        while (gateway.server.oauth.clients.find(id_) is None) is not gone:  # noqa: ASYNC110 - it changes elsewhere
            await asyncio.sleep(0.02)


async def credentials(gateway: RunningGateway, id_: str, secret: str) -> Answer:
    """What a program is answered that asks for a token of its own."""
    form = {"grant_type": CREDENTIALS, "client_id": id_, "client_secret": secret}
    return await gateway.ask("POST", "/oauth/token", data=form)


def code_question(client: str, uri: str, pkce: Pkce, **more: str) -> dict[str, str]:
    """The query of /oauth/authorize with which a program asks for a code."""
    return {
        "response_type": "code",
        "client_id": client,
        "redirect_uri": uri,
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
        **more,
    }


async def drop_client(kube: Client, id_: str) -> None:
    await kube.delete(Secret, SECRET_PREFIX + id_, "edge-system")
