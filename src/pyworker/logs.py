"""Logging of ``pyworker`` loggers: one line an event, as text or as JSON. The root logger is left alone.

What asyncio and aiohttp have to say goes the same way, so that nothing is written where it could block.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any, TextIO

from pyworker.log_writer import LogWriter
from pyworker.settings import LogSettings
from pyworker.wire import dump

__all__ = ["set_up", "visible"]

LIBRARIES = ("aiohttp", "asyncio")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_TRACE_INDENT = "    "
# control characters, other ends of lines, and what turns the direction of writing
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def set_up(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send the ``pyworker`` loggers to ``stream`` (stderr). Calling it again replaces what it set up before."""
    handler = _Handler(stream or sys.stderr, _Json() if settings.as_json else _Text())
    logger = logging.getLogger("pyworker")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(settings.level)
    logger.propagate = False
    for library in map(logging.getLogger, LIBRARIES):
        for old in [one for one in library.handlers if isinstance(one, _Handler)]:
            library.removeHandler(old)
        library.addHandler(handler)


class _Handler(logging.Handler):
    """Never makes who logs wait."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LogWriter(stream, self._dropped)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - what logging does with any of them
            self.handleError(record)

    def flush(self) -> None:
        self._writer.flush()

    def _dropped(self, count: int) -> str:
        words = "%d lines of this log were dropped here: they came faster than they were read or could be written"
        record = logging.LogRecord("pyworker.logs", logging.WARNING, __file__, 0, words, (count,), None)
        return self.format(record) + "\n"


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.message = visible(record.getMessage())
        record.asctime = self.formatTime(record, self.datefmt)
        extra = [visible(f"{name}={value}") for name, value in _extra(record).items()]
        lines = [" ".join([self.formatMessage(record), *extra])]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            lines += [_TRACE_INDENT + visible(line) for line in trace.split("\n")]
        return "\n".join(lines)


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
        return dump({name: _json_value(value) for name, value in line.items()}).decode()


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and name[0] != "_"}


def _json_value(value: Any) -> Any:
    """Numbers as they are, all else as text; what is no Unicode (bytes of a header, say) is escaped."""
    return value if isinstance(value, int | float) else str(value).encode(errors="backslashreplace").decode()


def visible(text: str) -> str:
    """A text with what a stranger could forge a line or move a terminal's cursor with escaped."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
