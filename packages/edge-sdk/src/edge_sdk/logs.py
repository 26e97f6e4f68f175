"""Logs of the process: one line an event, as JSON or as text; never the values of local variables."""

import logging
import sys
from typing import Final

import structlog
from structlog.typing import EventDict

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Threshold:
    """Loggers are made once and kept, so what may change later is asked at each event."""

    level = logging.INFO

    def __call__(self, _logger: object, method: str, event: EventDict) -> EventDict:
        if LEVELS.get(method, logging.CRITICAL) < self.level:
            raise structlog.DropEvent
        return event


_THRESHOLD: Final = _Threshold()


def set_log_level(level: str) -> None:
    """From now on, in the whole process. level: debug, info, warn or error."""
    _THRESHOLD.level = LEVELS[level]


def configure_logs(level: str, form: str) -> None:
    """level: debug, info, warn or error; form: json or text."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.KeyValueRenderer(key_order=["ts", "level", "event"])
    )
    set_log_level(level)
    structlog.configure(
        processors=[
            _THRESHOLD,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            # The plain traceback: locals would show bodies and tokens.
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=LEVELS["error"], stream=sys.stderr, format="%(message)s")
