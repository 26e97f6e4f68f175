"""edge.yaml while the process runs: `log.level` is taken up when it changes, the rest asks for a restart.

The file is read again every few seconds and compared, whatever told or did not tell of a change: a mounted
ConfigMap is swapped as a link, which file events do not show well. A file that cannot be used changes
nothing.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog
from msgspec.structs import fields

from edge.apiserver.configuration.settings import GatewaySettings
from edge_sdk.settings import Section, SettingsError

LOOKED_AT_EVERY_S: Final = 2.0
NOT_WAITING: Final = frozenset({"log.level", "notUsed"})
"""Taken up at once, or never."""

log = structlog.stdlib.get_logger("edge.apiserver")


class SettingsFile:
    """read: settings as the process would get them if it started now; raises SettingsError, OSError."""

    def __init__(
        self,
        file: Path,
        started_with: GatewaySettings,
        read: Callable[[], GatewaySettings],
        set_level: Callable[[str], None],
    ) -> None:
        self._file = file
        self._started_with = started_with
        self._level = started_with.log.level
        self._read = read
        self._set_level = set_level
        self._seen = self._content()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            self.look()

    def look(self) -> None:
        content = self._content()
        if content is None or content == self._seen:
            return
        self._seen = content
        try:
            now = self._read()
        except (SettingsError, OSError) as error:
            log.error("settings_not_taken", file=str(self._file), error=str(error))
            return
        if now.log.level != self._level:
            self._level = now.log.level
            self._set_level(now.log.level)
            log.warning("log_level_changed", level=now.log.level)
        waiting = sorted(set(differing(self._started_with, now)) - NOT_WAITING)
        if waiting:
            log.warning("settings_wait_for_restart", keys=waiting)

    def _content(self) -> bytes | None:
        """None while it cannot be read: it is being swapped, or gone."""
        try:
            return self._file.read_bytes()
        except OSError:
            return None


def differing(before: Section, after: Section, path: str = "") -> Iterator[str]:
    """Keys of edge.yaml whose values are not the same. Pure."""
    for info in fields(before):
        one, other = getattr(before, info.name), getattr(after, info.name)
        key = f"{path}.{info.encode_name}" if path else info.encode_name
        if isinstance(one, Section) and isinstance(other, Section):
            yield from differing(one, other, key)
        elif one != other:
            yield key
