"""What requests turn out to be, against what they were estimated at. Pure.

Where an answer says how much work it was, the request is booked at that in the end. Until then it stands in the books
at its estimate, which is off in the same direction every time (few answers are as long as their client allows), and
so would be every expected wait. Hence requests are booked at ``estimate * ratio``, where the ratio is

    sum of the workload of answers / sum of what they were estimated at

and each request weighs less with every one that comes after it.
"""

from __future__ import annotations

from pyworker.worker.core.ledger import MOST_WORKLOAD

__all__ = ["Estimates"]

_KEPT = 0.95  # of a request's weight, with each later one: about the last twenty count
_LOWEST, _HIGHEST = 0.001, 1000.0


class Estimates:
    """Of one route's requests. ``ratio`` is 1.0 until the first answer has said what it was."""

    def __init__(self) -> None:
        self.ratio = 1.0
        self._estimated = 0.0
        self._answered = 0.0

    def booked(self, estimate: float) -> float:
        """The workload to admit a request at."""
        return min(estimate * self.ratio, MOST_WORKLOAD)

    def add(self, estimate: float, answered: float) -> None:
        """Take in one request: its estimate, and the workload that its answer showed."""
        self._estimated = self._estimated * _KEPT + estimate
        self._answered = self._answered * _KEPT + answered
        if self._estimated > 0 and self._answered > 0:
            self.ratio = min(max(self._answered / self._estimated, _LOWEST), _HIGHEST)
