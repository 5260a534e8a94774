"""Which worker gets a request: the one with the least expected wait. Pure; the simulator runs it unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

__all__ = ["MANY", "Candidate", "choose", "expected_wait_s"]

MANY: Final = 100  # above so many the better of two taken by chance is chosen, at the same cost for any number


class Candidate(Protocol):
    """What is known of a worker that takes requests."""

    @property
    def load(self) -> float:
        """Workload in flight, what was sent to it and is not reported yet included."""
        ...

    @property
    def capacity_per_s(self) -> float:
        """Workload/s; 0 while unknown."""
        ...

    @property
    def sent_s(self) -> float:
        """When a request was last sent to it."""
        ...


_Candidate = TypeVar("_Candidate", bound=Candidate)


def expected_wait_s(worker: Candidate) -> float:
    """How long its work in flight will take. A worker of unknown capacity is tried with one request at a time."""
    load = worker.load
    if load <= 0:
        return 0.0
    capacity_per_s = worker.capacity_per_s
    return load / capacity_per_s if capacity_per_s > 0 else math.inf


def choose(
    workers: Sequence[_Candidate], *, max_wait_s: float, below: Callable[[int], int] | None = None
) -> _Candidate | None:
    """The worker with the least expected wait; of equals the quickest, of those the one longest without a request.

    None when every wait is above ``max_wait_s``: then the request is held. With ``below(n)``, a random whole number
    from 0 to n - 1, the better of two is taken where there are more than MANY (M. Mitzenmacher, "The Power of Two
    Choices in Randomized Load Balancing", 2001), and all are looked at only when both are full.
    """
    if below is not None and len(workers) > MANY:
        two = (workers[below(len(workers))], workers[below(len(workers))])
        best = _best(two, max_wait_s)
        if best is not None:
            return best
    return _best(workers, max_wait_s)


def _best(workers: Sequence[_Candidate], max_wait_s: float) -> _Candidate | None:
    """Spelled out, because it is run for every request over every worker."""
    best: _Candidate | None = None
    least_s = max_wait_s
    for worker in workers:
        load = worker.load
        wait_s = 0.0 if load <= 0 else (load / worker.capacity_per_s if worker.capacity_per_s > 0 else math.inf)
        if not wait_s <= least_s:  # NaN is no wait
            continue
        if best is None or wait_s < least_s or _before(worker, best):
            best, least_s = worker, wait_s
    return best


def _before(worker: Candidate, other: Candidate) -> bool:
    """Of two that wait the same: the quicker one, then the one longer without a request."""
    if worker.capacity_per_s != other.capacity_per_s:
        return worker.capacity_per_s > other.capacity_per_s
    return worker.sent_s < other.sent_s
