"""How long the requests of an endpoint took that ended lately, as its workers say. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from pyworker.wire import FinishedRequest
from pyworker.wire_dashboard import TimesFigures

__all__ = ["AnswerTimes"]

WINDOW_S: Final = 60.0
MOST: Final = 2_000  # of the newest requests


class _Ended(NamedTuple):
    at_s: float
    failed: bool
    queue_s: float | None
    took_s: float | None


class AnswerTimes:
    """The requests of the last WINDOW_S, at most MOST of them; ``now_s`` is the engine's monotonic clock."""

    def __init__(self) -> None:
        self._ended: deque[_Ended] = deque(maxlen=MOST)

    def add(self, request: FinishedRequest, now_s: float) -> None:
        """A request has ended."""
        began = request.entered_queue_at
        queue_s = _between(began, request.work_started_at)
        took_s = _between(began, request.work_completed_at) if request.status == "Success" else None
        self._ended.append(_Ended(now_s, not request.success, queue_s, took_s))

    def figures(self, now_s: float) -> TimesFigures:
        """Quantiles over the window; None where nothing is known."""
        while self._ended and now_s - self._ended[0].at_s > WINDOW_S:
            self._ended.popleft()
        took = sorted(ended.took_s for ended in self._ended if ended.took_s is not None)
        queued = sorted(ended.queue_s for ended in self._ended if ended.queue_s is not None)
        return TimesFigures(
            requests=len(self._ended),
            failed=sum(ended.failed for ended in self._ended),
            p50_s=_quantile(took, 0.5),
            p95_s=_quantile(took, 0.95),
            queue_p95_s=_quantile(queued, 0.95),
        )


def _between(begin_s: float | None, end_s: float | None) -> float | None:
    """A worker's times are its own claim: what is no time is taken as not given."""
    if begin_s is None or end_s is None or not 0 <= end_s - begin_s < math.inf:
        return None
    return end_s - begin_s


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of them that is at least as large as this share of them."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
