"""What became of one request of a load test, and what is asked of one. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pyworker.errors import BadRequest

__all__ = ["Objective", "Outcome"]

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0}


@dataclass(slots=True)
class Outcome:
    """Times in s from the beginning of the test, NaN for what did not happen; ``tokens`` are pieces of a stream.

    ``status`` is the answer's, 0 without one; ``error`` the kind of failure, "" for an answer with 2xx.
    """

    due_s: float
    sent_s: float = math.nan
    first_s: float = math.nan
    end_s: float = math.nan
    status: int = 0
    error: str = ""
    worker: str = ""
    tokens: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether it was answered whole, with 2xx."""
        return not self.error and not math.isnan(self.end_s)

    @property
    def latency_s(self) -> float:
        """From when it was due to the last byte.

        Not from when it was sent: what a generator is late with would be left out ("coordinated omission", Gil Tene).
        """
        return self.end_s - self.due_s

    @property
    def first_token_s(self) -> float:
        """From when it was due to the first byte of the answer's body."""
        return self.first_s - self.due_s

    @property
    def between_tokens_s(self) -> float:
        """The mean time from one piece of a stream to the next; NaN for fewer than two."""
        return (self.end_s - self.first_s) / (self.tokens - 1) if self.tokens > 1 else math.nan


@dataclass(frozen=True, slots=True)
class Objective:
    """What is asked of a request, in s; None asks nothing. A request is good when it was answered within all."""

    latency_s: float | None = None
    first_token_s: float | None = None
    between_tokens_s: float | None = None

    @classmethod
    def of(cls, text: str) -> Objective:
        """Of ``ttft=500ms,latency=10s,tbt=0.05``. Raises BadRequest."""
        names = {"latency": "latency_s", "ttft": "first_token_s", "tbt": "between_tokens_s"}
        asked: dict[str, float] = {}
        for part in filter(None, text.replace(" ", "").split(",")):
            name, _, value = part.partition("=")
            number = value.rstrip("ms")
            try:
                within_s = float(number) * _UNITS[value[len(number) :]]
            except (ValueError, KeyError):
                within_s = math.nan
            if name not in names or not 0 < within_s < math.inf:
                raise BadRequest(
                    f"the objective {part!r} is none; it takes ttft, tbt and latency, as ttft=500ms,latency=10s"
                )
            asked[names[name]] = within_s
        return cls(**asked)

    def is_met_by(self, outcome: Outcome) -> bool:
        """Whether a request was good. One without a stream has no time between tokens, and keeps to any."""
        return outcome.is_ok and all(
            not value > within_s
            for value, within_s in (
                (outcome.latency_s, self.latency_s),
                (outcome.first_token_s, self.first_token_s),
                (outcome.between_tokens_s, self.between_tokens_s),
            )
            if within_s is not None
        )

    def __str__(self) -> str:
        asked = {"ttft": self.first_token_s, "tbt": self.between_tokens_s, "latency": self.latency_s}
        return ", ".join(f"{name} within {within_s:g} s" for name, within_s in asked.items() if within_s is not None)
