"""How the gateway is reached from where a user is: the address and the authority that go into kubeconfigs.

The gateway cannot know it: a Service, a node port or an Ingress stands before it. So it is, in this order,
what the user says, what the installation says, and where the request was sent.
"""

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from edge.apiserver.configuration.settings import KubeconfigSettings
from edge.apiserver.headers import Network, came_over_tls, forwarded
from edge.apiserver.listening.tls import ServerTls
from edge.iam.kubeconfigs import Entrance
from edge_sdk.problem import Problem

HTTPS: Final = 443


class Entrances:
    """tls: of the https port, None without one; tls_port: where it listens."""

    def __init__(
        self,
        settings: KubeconfigSettings,
        *,
        trusted: Sequence[Network],
        tls: ServerTls | None,
        tls_port: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._trusted = trusted
        self._tls = tls
        self._tls_port = tls_port

    def of(self, request: web.BaseRequest, asked: str) -> Entrance:
        """asked: what the user says, an https address, or "". Raises Problem when no address is known."""
        configured = self._settings.server
        if configured and asked.rstrip("/") in ("", configured.rstrip("/")):
            return Entrance(configured, self._settings.certificate_authority.encode())
        if asked:
            return self._own(asked)
        host = _host(request.host)
        proto = forwarded(request.headers, "X-Forwarded-Proto")
        if host and came_over_tls(request.remote or "", proto, self._trusted):
            # The certificate is the proxy's: only the user's machine can tell whether it trusts it.
            name = request.headers.get("X-Forwarded-Host", "").rpartition(",")[2].strip()
            return Entrance(f"https://{_host(name) or host}")
        if host and request.secure:
            return self._own(f"https://{host}")
        if host and self._tls is not None:
            return self._own(f"https://{_without_port(host)}:{self._tls_port()}")
        raise Problem(
            "no-tls-address",
            what="No kubeconfig was made",
            why="where this gateway is reached over TLS is not known, and kubectl sends no token without it",
            do='send {"server": "https://…"}, or have kubeconfig.server set',
            status=409,
        )

    def _own(self, server: str) -> Entrance:
        """An address at which our own certificate is shown, as far as we can know."""
        if self._tls is None:
            return Entrance(server)
        names = self._tls.own_names
        host = urlsplit(server).hostname or ""
        return Entrance(server, self._tls.ca, "" if host in names or not names else names[0])


def _host(text: str) -> str:
    """A Host header that can be a part of an address, else ""."""
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        return ""
    if not parts.hostname or parts.netloc != text or "@" in text or (port is not None and not port):
        return ""
    return text if all(sign.isalnum() or sign in ".-:[]_" for sign in text) and text.isascii() else ""


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if urlsplit(f"//{host}").port is not None else host
