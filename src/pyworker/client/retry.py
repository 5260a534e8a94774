"""When a client asks again, and when an answer is final. Pure: time and chance are arguments."""

from __future__ import annotations

from typing import Final

__all__ = ["ASK_AGAIN", "poll_after_s", "read_retry_after", "retry_after_s"]

ASK_AGAIN: Final = frozenset({408, 429, 503})  # the request was not begun: another ticket, perhaps another worker

FIRST_POLL_S: Final = 1.0
LONGEST_POLL_S: Final = 5.0
FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 5.0
_LONGEST_RETRY_AFTER_S: Final = 3600.0


def poll_after_s(polls: int, chance: float) -> float:
    """How long to wait before asking a waiting ``/route/`` again: 1 s, then at random up to 5 s.

    ``polls`` counts the answers so far from 1, ``chance`` is in [0, 1).
    """
    if polls <= 1:
        return FIRST_POLL_S
    longest_s = min(2.0 ** min(polls, 10), LONGEST_POLL_S)
    return FIRST_POLL_S + chance * (longest_s - FIRST_POLL_S)


def retry_after_s(attempts: int, chance: float, *, asked_s: float | None, left_s: float) -> float | None:
    """How long to wait before asking for another worker; None when that would be past the deadline.

    ``attempts`` counts those made, from 1; ``asked_s`` is the worker's Retry-After, ``left_s`` the time that is left.
    """
    back_off_s = min(FIRST_RETRY_S * 2.0 ** min(attempts - 1, 10), LONGEST_RETRY_S) * (0.5 + chance / 2)
    wait_s = max(back_off_s, asked_s or 0.0)
    return wait_s if wait_s < left_s else None


def read_retry_after(value: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header; None when it is absent or not whole seconds."""
    text = (value or "").strip()
    return min(float(text), _LONGEST_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None
