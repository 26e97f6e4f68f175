"""`edge-museum`: start the chart repository."""

import asyncio
import logging
import os
import signal
import ssl
import sys

import structlog
from aiohttp import web

from edge.museum.catalog import Catalog
from edge.museum.server import build
from edge.museum.settings import BadSetting, Settings, from_environment

log = structlog.stdlib.get_logger("edge.museum")


def main() -> None:
    try:
        settings = from_environment(os.environ)
    except BadSetting as error:
        sys.exit(f"edge-museum was not started: {error}")
    _configure_log(settings)
    try:
        asyncio.run(print_index(settings) if settings.gen_index else serve(settings))
    except OSError as error:
        sys.exit(f"edge-museum was stopped: {error}")


async def print_index(settings: Settings) -> None:
    """GEN_INDEX: write the index to standard output and end, as upstream does."""
    catalog = Catalog(settings)
    await catalog.open()
    sys.stdout.buffer.write((await catalog.index("")).body)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let running requests end (10 s)."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(build(settings), access_log=None, shutdown_timeout=10)
    await runner.setup()
    site = web.TCPSite(runner, settings.listen_host, settings.port, ssl_context=_tls(settings))
    await site.start()
    log.info("museum_started", address=site.name, root=str(settings.storage_local_rootdir))
    try:
        await stop.wait()
    finally:
        await runner.cleanup()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    if settings.tls_ca_cert:
        context.load_verify_locations(settings.tls_ca_cert)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _configure_log(settings: Settings) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", key="ts"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if settings.debug else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    main()
