"""Numbers as people read them in the log of an endpoint. Pure."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["counted", "number", "per_s", "seconds", "shortened", "without_numbers"]

_NUMBER: Final = re.compile(r"\d+(\.\d+)?(e[+-]\d+)?")
_LONGEST, _HEAD, _TAIL = 300, 110, 180


def number(amount: float) -> str:
    """Three digits, or all before the point: 0.25, 902, 12345; 1.5e+09."""
    return f"{amount:.3g}" if amount < 100 or amount >= 1e9 else f"{amount:.0f}"


def per_s(amount_per_s: float) -> str:
    """Workload per second."""
    return f"{number(amount_per_s)}/s"


def seconds(time_s: float) -> str:
    """A time."""
    return f"{number(time_s)} s"


def counted(count: int, noun: str) -> str:
    """``1 worker``, ``2 workers``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shortened(text: str) -> str:
    """A failure's text for a line of a log: the beginning says what failed, the end most often why."""
    return text if len(text) <= _LONGEST else f"{text[:_HEAD]} ... {text[-_TAIL:]}"


def without_numbers(text: str) -> str:
    """To compare what is said with what was said before, when it is about the same."""
    return _NUMBER.sub("", text)
