"""Endpoints, their workergroups, and what clients ask of an endpoint. Pure.

Times in s on the engine's monotonic clock, unless a name says ``epoch``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.core.times import AnswerTimes

__all__ = ["BURST_WINDOW_S", "STABLE_WINDOW_S", "Arrivals", "Earlier", "Endpoint", "Group"]

STABLE_WINDOW_S: Final = 60.0
BURST_WINDOW_S: Final = 6.0
LEAST_WINDOW_S: Final = 20.0  # what came in the first second of counting is no rate yet

_RATIO = 0.2
_RATIO_LOW, _RATIO_HIGH = 0.01, 100.0
_SLOWLY = 0.01
OVERDUE_S: Final = 10.0
LARGEST_S: Final = 30.0  # of one worker's work, a request may claim at least
LARGEST_USUAL: Final = 10.0  # times the usual request


class Arrivals:
    """Requests, and the workload that clients claimed for them, by the second; ``began_s`` is when counting began."""

    def __init__(self, began_s: float) -> None:
        self.last_s = began_s  # when somebody last asked
        self._began_s = began_s
        self._seconds: deque[tuple[int, float, int]] = deque()  # second, workload, requests

    def add(self, claimed: float, now_s: float) -> None:
        """Somebody asks."""
        self.last_s = now_s
        second = math.floor(now_s)
        if self._seconds and self._seconds[-1][0] >= second:
            latest, before, requests = self._seconds[-1]
            self._seconds[-1] = (latest, before + claimed, requests + 1)
            return
        self._seconds.append((second, claimed, 1))
        while self._seconds[0][0] < second - STABLE_WINDOW_S:
            self._seconds.popleft()

    def per_s(self, window_s: float, now_s: float) -> float:
        """The mean over the window that ends now; over the time since counting began when that is shorter, but not
        over less than LEAST_WINDOW_S.
        """
        since = now_s - window_s
        claimed = sum(amount for second, amount, _ in self._seconds if second > since)
        return claimed / min(window_s, max(now_s - self._began_s, LEAST_WINDOW_S))

    def requests(self, window_s: float, now_s: float) -> int:
        """How many came in the window that ends now."""
        since = now_s - window_s
        return sum(requests for second, _, requests in self._seconds if second > since)

    def counted_for(self, window_s: float, now_s: float) -> bool:
        """Whether counting has gone on for as long."""
        return now_s - self._began_s >= window_s


@dataclass(slots=True, eq=False)
class Endpoint:
    """Workers that serve the same model under one name.

    ``counted_per_claimed`` is how much workload its workers count for each unit that clients claim as ``cost``,
    ``usual`` what they count for a request, ``best_per_s`` what the best of them can do.
    ``generation`` is of its own key: raising it revokes the key. ``stirred`` is set when a worker of it may have
    become ready, or no longer be.
    """

    id: int
    name: str
    parameters: EndpointParameters = field(default_factory=EndpointParameters)
    arrivals: Arrivals = field(default_factory=lambda: Arrivals(0.0), repr=False)
    generation: int = 1
    created_epoch_s: float = 0.0
    stopped: bool = False  # by its owner
    auto_delete_in_s: float | None = None  # after it was made
    deleted: bool = False  # nobody is routed there; it is gone once its workers are
    counted_per_claimed: float = 1.0
    usual: float = 0.0
    best_per_s: float = 0.0
    stirred: bool = True
    times: AnswerTimes = field(default_factory=AnswerTimes, repr=False)

    def left_s(self, epoch_s: float) -> float | None:
        """How long until it deletes itself; None when it does not."""
        if self.auto_delete_in_s is None:
            return None
        return max(0.0, self.created_epoch_s + self.auto_delete_in_s - epoch_s)

    @property
    def max_queue_time_s(self) -> float:
        """A worker with a longer expected wait gets no more requests."""
        return self.parameters.max_queue_time

    def learn_ratio(self, counted: float, claimed: float, requests: int) -> None:
        """Take in what a worker counted for so many requests, for which clients claimed so much."""
        if claimed > 0 and counted > 0:
            sample = min(max(counted / claimed, _RATIO_LOW), _RATIO_HIGH)
            self.counted_per_claimed += _RATIO * (sample - self.counted_per_claimed)
            self.usual += (_SLOWLY if self.usual else 1.0) * (counted / requests - self.usual)

    def learn_best(self, capacity_per_s: float) -> None:
        """Take in what one of its workers can do; one that is worse than the best tells little of that."""
        slowly = _SLOWLY if capacity_per_s < self.best_per_s else 1.0
        self.best_per_s += slowly * (capacity_per_s - self.best_per_s)

    def credible(self, claimed: float) -> float:
        """A claim, at most as large as one request can be.

        That is all that the best worker does within max_queue_time (LARGEST_S at least), or LARGEST_USUAL usual
        requests. Else who claims without measure keeps workers from everybody else, and has all be started.
        """
        if self.best_per_s <= 0:
            return claimed
        most = max(self.best_per_s * max(self.max_queue_time_s, LARGEST_S), LARGEST_USUAL * self.usual)
        return min(claimed, most / self.counted_per_claimed)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The launch that a group had before its newest one, to go back to."""

    version: int
    launch: Launch | None


@dataclass(slots=True, eq=False)
class Group:
    """Workers of an endpoint that are made alike. ``version`` counts the changes of its launch.

    ``extra`` are fields of the wire that mean nothing here and are given back as they came. ``condition`` says in words
    what one of its workers can do, how an update goes, why no more are started.
    """

    id: int
    endpoint: Endpoint
    parameters: GroupParameters = field(default_factory=GroupParameters)
    version: int = 1
    before: Earlier | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    created_epoch_s: float = 0.0
    condition: str = ""
    deleted: bool = False
    start_s: float | None = None  # how long the last of its workers that became ready took for that

    def ready_in_s(self, begun_s: float, now_s: float) -> float:
        """When a worker whose start began then may be ready; inf when nothing is known, or it is long overdue."""
        if self.start_s is None or now_s - begun_s > 2 * self.start_s + OVERDUE_S:
            return math.inf
        return max(0.0, begun_s + self.start_s - now_s)
