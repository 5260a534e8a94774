"""Logging of ``pyworker`` loggers: one line an event, as text or as JSON. The root logger is left alone."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, TextIO

from pyworker.settings import LogSettings
from pyworker.wire import dump

__all__ = ["set_up"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def set_up(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send the ``pyworker`` loggers to ``stream`` (stderr). Calling it again replaces what it set up before."""
    logger = logging.getLogger("pyworker")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if settings.as_json else _Text())
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(settings.level)
    logger.propagate = False


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        extra = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        return f"{text} {extra}" if extra and "\n" not in text else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return dump(
            {name: value if isinstance(value, int | float) else str(value) for name, value in line.items()}
        ).decode()


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
