"""What an engine's failure looks like to a client."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from pyworker.errors import EngineRefused, EngineUnreachable

__all__ = ["is_passing", "no_engine", "not_an_engine", "refused"]

_PASSING = frozenset({500, 502, 503, 504})


def refused(status: int, body: bytes) -> EngineRefused:
    """The engine answered with an error: its own words."""
    try:
        message = json.loads(body)
        words = str(message.get("msg") or message["error"])
    except (ValueError, KeyError, AttributeError):
        words = f"the engine answers {status}: {body[:200].decode(errors='replace')}"
    return EngineRefused(words, status=status)


def no_engine(url: str, error: Exception) -> EngineUnreachable:
    """The engine did not answer."""
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


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else url


def _short(error: object) -> str:
    """The reason, without the layers around it."""
    for name in ("os_error", "reason"):
        error = getattr(error, name, error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
