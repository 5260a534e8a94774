"""What an engine's failure looks like to a client."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyworker.client.retry import read_retry_after
from pyworker.errors import CallFailed, EngineRefused, EngineUnreachable, WorkerUnreachable

if TYPE_CHECKING:
    import aiohttp  # which commands that use no event loop need not wait for

__all__ = ["WorkerLost", "is_passing", "no_engine", "not_an_engine", "raise_closed", "refused"]

_BASE = re.compile("(?:[a-zA-Z]*://)?[^/]*")
_PASSING = frozenset({500, 502, 503, 504})


class WorkerLost(WorkerUnreachable):
    """The worker took the request, and its connection broke before any byte of an answer."""


def refused(status: int, body: bytes, retry_after: str | None = None) -> EngineRefused:
    """The engine answered with an error: its own words, and when to come back (the header) if it says so."""
    try:
        message = json.loads(body)
        words = str(message.get("msg") or message["error"])
    except (ValueError, KeyError, AttributeError):
        words = f"the engine answers {status}: {body[:200].decode(errors='replace')}"
    return EngineRefused(words, status=status, retry_after_s=read_retry_after(retry_after))


def no_engine(url: str, error: Exception) -> EngineUnreachable:
    """The engine did not answer; or nobody could, at what is no address."""
    if not _is_address(url):
        return EngineUnreachable(
            f"{_base(url)!r} is no address of an engine: give one as http://HOST:PORT, with --engine or PYWORKER_ENGINE"
        )
    return EngineUnreachable(
        f"no engine answers at {_base(url)} ({_short(error)}): "
        "start one with `pyworker engine`, or name another with --engine"
    )


def not_an_engine(url: str, why: object) -> EngineRefused:
    """Something answered, but not as an engine does."""
    return EngineRefused(f"the answer of {_base(url)} is not an engine's: {why}", status=200)


def is_passing(error: EngineUnreachable | EngineRefused) -> bool:
    """Whether an engine that was there may be there again in a moment."""
    return isinstance(error, EngineUnreachable) or error.answered_status in _PASSING


def raise_closed(http: aiohttp.ClientSession) -> None:
    """Raise CallFailed when the client was closed while it was calling; aiohttp has a RuntimeError for that."""
    if http.closed:
        raise CallFailed("the client was closed before this call had its answer") from None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _base(url: str) -> str:
    """Of a call's url, what was given for the engine."""
    found = _BASE.match(url)
    return found[0] if found else url


def _short(error: object) -> str:
    """The reason, without the layers around it."""
    for name in ("os_error", "reason"):
        error = getattr(error, name, error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
