"""How often somebody may ask: a bucket for each, which fills again with time. Pure; times in s."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["Limits"]

MOST_BUCKETS: Final = 10_000


class Limits:
    """``per_s`` calls a second for each name, and ``burst`` at once (the token bucket)."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when

    def wait_s(self, name: str, now_s: float) -> float:
        """0.0 when this call is within the limit (and counts), else how long until one would be."""
        left, seen_s = self._buckets.pop(name, (self._burst, now_s))
        left = min(self._burst, left + max(0.0, now_s - seen_s) * self._per_s)
        allowed = left >= 1.0
        self._buckets[name] = (left - 1.0 if allowed else left, now_s)
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_s
