"""A real OpenID provider on loopback (tools/oidc-provider), and a person who signs in there."""

import json
import re
import secrets
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from tests.support.browser import Browser

from edge.embedded import tools
from edge.embedded.steps import Progress
from edge_kube.harness.processes import Process, free_port

CLIENT: Final = "edge-platform"
SECRET: Final = "known to the provider"
PASSWORD: Final = "at the provider"
START: Final = "/oauth/providers/oidc/start"


def account(
    name: str, *, email: str = "", verified: bool = True, groups: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "ID": f"id-of-{name}", "Username": name, "Password": PASSWORD, "FirstName": name.title(),
        "LastName": "X", "Email": email or f"{name}@example.org", "EmailVerified": verified, "Groups": groups,
    }  # fmt: skip


ACCOUNTS: Final = (
    account("curie", groups=("radium", "edge:platform-admins", "system:masters")),
    account("meitner"),
    account("goeppert"),
    account("noddack"),
    account("admin", email="admin@example.org", verified=False),
)


@dataclass
class ProviderProcess:
    port: int
    process: Process

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def gateway_settings(issuer: str, port: int) -> dict[str, str]:
    """Flags of a gateway at that port which uses the provider."""
    found = {
        "enabled": "true", "issuerURL": issuer, "clientID": CLIENT, "clientSecret": SECRET,
        "redirectURL": f"http://127.0.0.1:{port}/oauth/callback",
    }  # fmt: skip
    flags = {f"authentication.oidc.{key}": value for key, value in found.items()}
    return {**flags, "server.bindAddress": f"127.0.0.1:{port}"}


@contextmanager
def provider(folder: Path, gateway_port: int, port: int = 0) -> Generator[ProviderProcess]:
    folder.mkdir(parents=True, exist_ok=True)
    accounts = folder / "accounts.json"
    accounts.write_text(json.dumps({one["ID"]: one for one in ACCOUNTS}))
    port = port or free_port()
    built: Path = tools.ensure(Progress(quiet=True), ("oidc-provider",))
    env: Mapping[str, str] = {
        "PORT": str(port), "CLIENT": f"{CLIENT}:{SECRET}", "ACCOUNTS": str(accounts),
        "REDIRECT": f"http://127.0.0.1:{gateway_port}/oauth/callback",
    }  # fmt: skip
    process = Process("oidc-provider", [built / "oidc-provider"], folder, env)
    try:
        process.wait_ready(lambda: _listens(port), 90)
        yield ProviderProcess(port, process)
    finally:
        process.stop()


async def signed_in_there(address: str, name: str, password: str = PASSWORD) -> str:
    """What the provider sends a browser back to, after the person has typed name and password there."""
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as page:
            text = await page.text()
            found = re.search(r'name="id" value="([^"]+)"', text)
            assert found is not None, text
            form = {"username": name, "password": password, "id": found[1]}
            target = str(page.url.with_query(None))
        for _ in range(5):
            method = "POST" if form else "GET"
            async with session.request(method, target, data=form or None, allow_redirects=False) as answer:
                assert answer.status in (302, 303), await answer.text()
                target, form = urljoin(target, answer.headers["Location"]), {}
            if "/oauth/callback?" in target:
                return target
    raise AssertionError(f"the provider leads to {target}")


async def back_from_provider(browser: Browser, name: str, start: str = START) -> str:
    """The path at the gateway that the provider sends the browser to."""
    begun = await browser.open(start)
    assert begun.status == 303, begun.body
    parts = urlsplit(await signed_in_there(begun.headers["Location"], name))
    return f"{parts.path}?{parts.query}"


async def logout_token(issuer: str, **claims: Any) -> str:
    """A logout token of the provider's, with these claims instead of good ones; None leaves one out."""
    now_s = int(time.time())
    event = "http://schemas.openid.net/event/backchannel-logout"
    good = {
        "iss": issuer, "aud": CLIENT, "iat": now_s, "exp": now_s + 120, "jti": secrets.token_hex(8),
        "events": {event: {}},
    }  # fmt: skip
    wanted = {name: value for name, value in {**good, **claims}.items() if value is not None}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{issuer}/logout-token", json=wanted) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.text()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
