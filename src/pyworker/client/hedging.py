"""Hedging: a second request beside one that takes long, so that one slow worker does not make a call slow. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyworker.errors import ConfigurationError

__all__ = ["Hedge", "HedgeBudget"]

MOST_SAVED: Final = 10.0  # hedges, so that an hour without any is not followed by a storm of them


@dataclass(frozen=True, slots=True)
class Hedge:
    """After ``after_s`` without the beginning of an answer the request goes to another worker, too.

    ``after_s`` counts from when a worker was found, and is best what 95% of the answers begin within. At most ``share``
    of all requests are sent twice. Raises ConfigurationError for what is neither.
    """

    after_s: float
    share: float = 0.05

    def __post_init__(self) -> None:
        if not self.after_s > 0:
            raise ConfigurationError(f"Hedge(after_s={self.after_s!r}): give a time above 0 s")
        if not 0 < self.share <= 1:
            raise ConfigurationError(f"Hedge(share={self.share!r}): give a share of the requests above 0, at most 1")


class HedgeBudget:
    """How many hedges may be sent: never more than ``share`` of the requests so far."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._saved = 0.0

    def asked(self) -> None:
        """There was a request."""
        self._saved = min(self._saved + self._share, MOST_SAVED)

    def take(self) -> bool:
        """Whether a hedge may be sent now; then it counts as sent."""
        if self._saved < 1.0 - 1e-9:  # twenty twentieths are one, whatever their sum is in floating point
            return False
        self._saved -= 1.0
        return True
