"""Capacity (workload/s) learned from the requests served, for a worker without a benchmark.

A request that took ``t`` s for workload ``w`` while ``n`` worked beside each other saw the machine do about
``n * w / t`` a second. Samples are smoothed, and the highest smoothed value is kept: a machine with little to do
shows less than it can.
"""

from __future__ import annotations

__all__ = ["LearnedCapacity"]

_WEIGHT = 0.2  # of a new sample
_SHORTEST_S = 0.001  # below that a clock says nothing


class LearnedCapacity:
    """The estimate; ``per_s`` is 0.0 until the first request was served."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._smoothed = 0.0

    def add(self, workload: float, took_s: float, working: int) -> float:
        """Take in a served request: its workload, its time at work, how many worked meanwhile. Returns the estimate."""
        sample = max(1, working) * workload / max(took_s, _SHORTEST_S)
        self._smoothed = sample if self._smoothed == 0.0 else self._smoothed + _WEIGHT * (sample - self._smoothed)
        self.per_s = max(self.per_s, self._smoothed)
        return self.per_s
