"""When the requests of a load test are due: how their rate goes over time, and how regular they are. Pure.

Two things that have nothing to do with each other. A ``Rate`` says how many arrivals there are up to a moment on
average; ``gaps`` says how regularly they come when there is one a second on average. An arrival process with any rate
is the second with its time stretched by the first (time-rescaling: Brown et al., "The Time-Rescaling Theorem", 2002).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from pyworker.errors import BadRequest

__all__ = ["Pattern", "Ramp", "Rate", "Sine", "Steady", "due_times", "gaps"]

Pattern = Literal["constant", "poisson", "gamma"]

_HALVINGS: Final = 50  # a 10**15th of a period


class Rate(Protocol):
    """Arrivals per second, over time."""

    def when(self, count: float) -> float:
        """After how many s there have been ``count`` arrivals on average."""
        ...


@dataclass(frozen=True, slots=True)
class Steady:
    """Always the same."""

    per_s: float

    def __post_init__(self) -> None:
        """Raises BadRequest."""
        _require(self.per_s > 0, "the rate must be above 0")

    def when(self, count: float) -> float:
        """See ``Rate``."""
        return count / self.per_s


@dataclass(frozen=True, slots=True)
class Ramp:
    """From one rate to another within ``over_s``, and on at that."""

    first_per_s: float
    last_per_s: float
    over_s: float

    def __post_init__(self) -> None:
        """Raises BadRequest."""
        _require(self.first_per_s >= 0 and self.last_per_s > 0, "a ramp goes from 0 or more to a rate above 0")
        _require(self.over_s > 0, "a ramp takes more than 0 s")

    def when(self, count: float) -> float:
        """See ``Rate``. While it rises, count = first t + (last - first) t^2 / (2 over_s)."""
        on_the_ramp = (self.first_per_s + self.last_per_s) / 2 * self.over_s
        if count >= on_the_ramp:
            return self.over_s + (count - on_the_ramp) / self.last_per_s
        slope = (self.last_per_s - self.first_per_s) / self.over_s
        root = math.sqrt(max(0.0, self.first_per_s**2 + 2 * slope * count))
        return 2 * count / (self.first_per_s + root) if count else 0.0  # no difference of nearly equal numbers


@dataclass(frozen=True, slots=True)
class Sine:
    """A day and a night: ``mean + swing sin(2 pi t / period)``."""

    mean_per_s: float
    swing_per_s: float
    period_s: float

    def __post_init__(self) -> None:
        """Raises BadRequest."""
        _require(self.mean_per_s > 0, "the rate must be above 0")
        _require(0 <= self.swing_per_s <= self.mean_per_s, "the swing is from 0 to the rate, which is its middle")
        _require(self.period_s > 0, "the period must be above 0 s")

    def when(self, count: float) -> float:
        """See ``Rate``. Found by halving: the arrivals so far only grow, and are never far from the mean's."""
        more = self.swing_per_s * self.period_s / math.pi / self.mean_per_s
        high_s = count / self.mean_per_s
        low_s = max(0.0, high_s - more)
        for _ in range(_HALVINGS):
            middle_s = (low_s + high_s) / 2
            if self._so_far(middle_s) < count:
                low_s = middle_s
            else:
                high_s = middle_s
        return high_s

    def _so_far(self, at_s: float) -> float:
        turn = 2 * math.pi / self.period_s
        return self.mean_per_s * at_s + self.swing_per_s / turn * (1 - math.cos(turn * at_s))


def gaps(pattern: Pattern, chance: random.Random, burstiness: float = 1.0) -> Iterator[float]:
    """Gaps between arrivals, 1 on average, for ever; the first is before the first arrival.

    ``burstiness`` is the shape of the gamma distribution: 1 is Poisson, below 1 arrivals come in bursts, far above 1
    like a clock. Raises BadRequest when it is not above 0.
    """
    _require(0 < burstiness < math.inf, "the burstiness must be above 0: 1 is Poisson, less comes in bursts")
    if pattern == "constant":
        yield 0.0
    while True:
        if pattern == "constant":
            yield 1.0
        elif pattern == "poisson":
            yield chance.expovariate(1.0)
        else:
            yield chance.gammavariate(burstiness, 1 / burstiness)


def due_times(rate: Rate, between: Iterator[float]) -> Iterator[float]:
    """When each arrival is due, in s from the beginning; for ever."""
    count = 0.0
    for gap in between:
        count += gap
        yield rate.when(count)


def _require(holds: bool, words: str) -> None:
    if not holds:
        raise BadRequest(words)
