"""When a request is sent again, and when an answer is final. Pure: time and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyworker.errors import ConfigurationError

__all__ = ["ASK_AGAIN", "NEVER", "Retry", "goes_again", "poll_after_s", "read_retry_after", "retry_after_s"]

ASK_AGAIN: Final = frozenset({408, 429, 503})  # the request was not begun: another ticket, perhaps another worker
FAILED: Final = frozenset({502, 504})  # it may have been, but whoever stands before the model has no answer of its

FIRST_POLL_S: Final = 1.0
LONGEST_POLL_S: Final = 5.0
FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 5.0
_LONGEST_RETRY_AFTER_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is sent anew that may have been begun: after these ``statuses``, and a lost connection.

    Nothing is sent anew once a byte of the answer has come. 500 is not among the statuses by default: it is most often
    the model's own failure, which it would repeat. Raises ConfigurationError for a status that is no 5xx.
    """

    failures: int = 2
    statuses: frozenset[int] = FAILED

    def __post_init__(self) -> None:
        if self.failures < 0:
            raise ConfigurationError(f"Retry(failures={self.failures}): give 0 or more")
        wrong = sorted(status for status in self.statuses if not 500 <= status <= 599)
        if wrong:
            raise ConfigurationError(f"Retry(statuses=...): {wrong[0]} would be the same again; give statuses of 5xx")


NEVER: Final = Retry(failures=0)


def goes_again(status: int | None, failures: int, policy: Retry) -> bool:
    """Whether a request is sent again that was answered so; None: its connection was lost before an answer.

    ``failures`` counts those before which may have been begun. One that was not begun always goes again.
    """
    if status in ASK_AGAIN:
        return True
    return (status is None or status in policy.statuses) and failures < policy.failures


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
