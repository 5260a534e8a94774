"""The search for the highest rate that still meets an objective. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["Search"]

CLOSE_ENOUGH: Final = 1.1
LOWEST_PER_S: Final = 0.01


@dataclass(slots=True)
class Search:
    """Doubles the rate until the objective is missed (or halves it until it is met), then halves what is between.

    ``next_per_s`` is the rate to try now, None at the end; ``met_per_s`` the highest that met the objective, 0
    for none. The search ends when the lowest that missed it is less than CLOSE_ENOUGH times that.
    """

    next_per_s: float | None
    met_per_s: float = 0.0
    missed_per_s: float | None = None
    tried: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])

    def told(self, *, met: bool) -> None:
        """How the rate that was tried did."""
        rate = self.next_per_s
        assert rate is not None
        self.tried.append((rate, met))
        if met:
            self.met_per_s = max(self.met_per_s, rate)
        else:
            self.missed_per_s = rate if self.missed_per_s is None else min(self.missed_per_s, rate)
        self.next_per_s = self._next()

    def _next(self) -> float | None:
        missed = self.missed_per_s
        if missed is None:
            return self.met_per_s * 2
        if not self.met_per_s:
            return missed / 2 if missed / 2 >= LOWEST_PER_S else None
        if missed / self.met_per_s < CLOSE_ENOUGH:
            return None
        return (self.met_per_s * missed) ** 0.5
