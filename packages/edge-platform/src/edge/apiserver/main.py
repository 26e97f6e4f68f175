"""`edge-apiserver`: read the settings, connect, serve until told to stop.

    edge-apiserver --config=/etc/edge/edge.yaml --server.bindAddress=0.0.0.0:9090 --log.level=debug

Every key of edge.yaml is a flag of the same name; `--help` lists them.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from edge.apiserver.configuration.reading import read_settings
from edge.apiserver.configuration.settings import SECTIONS, GatewaySettings
from edge.apiserver.configuration.settingsfile import SettingsFile
from edge.apiserver.server import ApiServer
from edge_kube.config import ConfigError, Connection, in_cluster, load_kubeconfig
from edge_kube.errors import KubeError
from edge_sdk.flags import FlagError, help_text, read_flags
from edge_sdk.logs import configure_logs, set_log_level
from edge_sdk.settings import SettingsError

RETRY_S = 2.0
CONFIG_FILES = (Path("/etc/edge/edge.yaml"), Path("/config/apiserver.yaml"))

log = structlog.stdlib.get_logger("edge.apiserver")


def main(argv: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text("edge-apiserver", SECTIONS))
        return
    try:
        flags = read_flags(arguments)
        file = _config_file(flags)

        def read(*, with_files: bool = False) -> GatewaySettings:
            # The reader takes out what it has used.
            return read_settings(file=file, environ=os.environ, flags=dict(flags), with_files=with_files)

        settings = read(with_files=True)
        connection = connect(settings)
    except (FlagError, SettingsError, ConfigError) as error:
        sys.exit(f"edge-apiserver was not started: {error}")
    configure_logs(settings.log.level, settings.log.format)
    if settings.not_used:
        log.warning("settings_not_used", keys=settings.not_used, why="this version lacks what they are for")
    follow = None if file is None else SettingsFile(file, settings, read, set_log_level)
    try:
        asyncio.run(serve(connection, settings, follow))
    except (OSError, ValueError) as error:
        sys.exit(f"edge-apiserver was stopped: {error}")


def _config_file(flags: dict[str, str]) -> Path | None:
    """The file of --config, which must exist; else the first of the documented places that does."""
    named = flags.pop("config", "")
    return Path(named) if named else next((path for path in CONFIG_FILES if path.exists()), None)


def connect(settings: GatewaySettings) -> Connection:
    """Raises ConfigError."""
    path = settings.server.kubeconfig
    return load_kubeconfig(Path(path)) if path else in_cluster()


async def serve(
    connection: Connection, settings: GatewaySettings, follow: SettingsFile | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError when a port is taken."""
    following = None if follow is None else asyncio.create_task(follow.run())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = ApiServer(connection, settings)
    try:
        while not stop.is_set():
            try:
                await server.start()
                break
            except KubeError as error:
                # At a cold start the API server may come after us; waiting here is faster than restarts.
                log.warning("start_delayed", error=str(error), again_in_s=RETRY_S)
                await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=RETRY_S)
        await stop.wait()
        log.info("gateway_stopping")
    finally:
        await server.stop()
        if following is not None:
            following.cancel()


if __name__ == "__main__":
    main()
