"""`edge-audit`: keep the records of changes that gateways send.

edge-audit --config=/etc/edge/audit.yaml
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
from aiohttp import web

from edge.apiserver.auditing.verdicts import verifier_of
from edge.apiserver.configuration.settings import AuditSettings, LogSettings
from edge.apiserver.listening.tls import ServerTls
from edge.apiserver.sinks.access import Doorkeeper, GatewayKeys
from edge.apiserver.sinks.client import SinkClient, TokenFile
from edge.apiserver.sinks.peers import follow_peers
from edge.apiserver.sinks.server import SinkServer
from edge.apiserver.sinks.settings import SECTIONS, SinkSettings, read_sink_settings
from edge.apiserver.sinks.setup import limits_of
from edge.apiserver.sinks.trust import SINKS_SECRET, Trust
from edge.audit.folder import Folder
from edge.audit.received import Received
from edge_kube.client import Client
from edge_kube.config import ConfigError, Connection, in_cluster, load_kubeconfig
from edge_kube.errors import KubeError
from edge_sdk.flags import FlagError, help_text, read_flags
from edge_sdk.logs import configure_logs
from edge_sdk.settings import Settings, SettingsError

RETRY_S = 2.0
BEHIND_MAX = 10
"""Verifications of a sink that its peers know more than; then that is an alarm."""

log = structlog.stdlib.get_logger("edge.audit")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text("edge-audit", SECTIONS))
        return
    try:
        flags = read_flags(arguments)
        named = flags.pop("config", "")
        settings = read_sink_settings(file=Path(named) if named else None, environ=os.environ, flags=flags)
        if not settings[AuditSettings].folder:
            raise ConfigError("audit.folder is not set: say where records are kept")
        path = settings[SinkSettings].kubeconfig
        connection = load_kubeconfig(Path(path)) if path else in_cluster()
    except (FlagError, SettingsError, ConfigError) as error:
        sys.exit(f"edge-audit was not started: {error}")
    configure_logs(settings[LogSettings].level, settings[LogSettings].format)
    try:
        asyncio.run(_until_told(connection, settings))
    except (OSError, ValueError) as error:
        sys.exit(f"edge-audit was stopped: {error}")


async def _until_told(connection: Connection, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sink = SinkProcess(connection, settings)
    try:
        while not stop.is_set():
            try:
                await sink.start()
                break
            except KubeError as error:
                log.warning("start_delayed", error=str(error), again_in_s=RETRY_S)
                await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=RETRY_S)
        await stop.wait()
    finally:
        await sink.stop()


class SinkProcess:
    """One sink: its folder, its listener, its peers."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._settings = settings[SinkSettings]
        audit = settings[AuditSettings]
        self._client = Client(connection)
        self.received = Received(Folder(Path(audit.folder)), limits_of(audit))
        self._token = Path(audit.sink_token_file)
        self._trust = Trust(self._client, self._settings.namespace)
        self._keys = GatewayKeys(self._client, self._settings.namespace, self.received.folder)
        self.verifier = verifier_of(audit, self._client, self._settings.namespace, patience=BEHIND_MAX)
        self._tls = ServerTls(
            self._client,
            self._settings.namespace,
            given="",
            names=self._settings.names,
            own=SINKS_SECRET,
        )
        self._server: SinkServer | None = None
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._peers: list[SinkClient] = []

    @property
    def port(self) -> int:
        return int(self._runner.addresses[0][1]) if self._runner else 0

    def silent_after(self, seconds: float) -> None:
        """When a writer that is not heard counts as gone."""
        assert self._server is not None  # noqa: S101 - it was started
        self._server.silent_s = seconds

    async def start(self) -> None:
        """Raises KubeError, OSError."""
        await asyncio.to_thread(self.received.folder.make)
        await self._tls.load()
        settings, keys = self._settings, self._keys
        await keys.refresh()
        door = Doorkeeper(
            self._client,
            keys,
            gateways=settings.gateways,
            peers=settings.peer_accounts,
            address=settings.address,
        )
        self._server = SinkServer(self.received, door, self.verifier)
        self._runner = web.AppRunner(self._server.application(), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self._settings.host, self._settings.port, ssl_context=self._tls.context
        )
        await site.start()
        await self._trust.find()
        token = TokenFile(self._token)
        self._peers = [SinkClient(url, token, self._trust.context) for url in settings.peers]
        self._tasks = [
            asyncio.create_task(self._tls.run()),
            asyncio.create_task(self._trust.follow()),
            asyncio.create_task(follow_peers(self.received, self._peers, keys.refresh)),
            asyncio.create_task(self.verifier.run()),
        ]
        log.info("audit_sink_listening", port=self.port, folder=str(self.received.folder.path))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.end()
        if self._runner is not None:
            await self._runner.cleanup()
        for peer in self._peers:
            await peer.close()
        await asyncio.to_thread(self.received.close)
        await self._client.close()


if __name__ == "__main__":
    main()
