"""How far the engine's clock is from ours, from the ``Date`` of its answers. Pure.

``Date`` has whole seconds, so an answer that says ``d`` and came between our ``sent`` and ``received`` puts the
offset between ``d - received`` and ``d + 1 - sent``. The bounds of several answers are intersected; when they
contradict each other a clock has jumped, and the last answer is believed.
"""

from __future__ import annotations

__all__ = ["ClockOffset"]


class ClockOffset:
    """``offset_s`` is what to add to our epoch time to get the engine's: the possible value nearest to 0."""

    def __init__(self) -> None:
        self._low_s = float("-inf")
        self._high_s = float("inf")

    def heard(self, date_s: float, *, sent_s: float, received_s: float) -> None:
        """Take in the ``Date`` (epoch s) of an answer, and when we asked and got it (epoch s of our clock)."""
        low_s, high_s = date_s - received_s, date_s + 1.0 - sent_s
        if low_s > self._high_s or high_s < self._low_s:
            self._low_s, self._high_s = low_s, high_s
        else:
            self._low_s, self._high_s = max(low_s, self._low_s), min(high_s, self._high_s)

    @property
    def offset_s(self) -> float:
        """0.0 until an answer said otherwise."""
        return min(max(0.0, self._low_s), self._high_s)
