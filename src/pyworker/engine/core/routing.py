"""Which worker gets a request: the one with the least expected wait. Pure; the simulator runs it unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Candidate", "choose", "expected_wait_s"]


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
    if worker.load <= 0:
        return 0.0
    return worker.load / worker.capacity_per_s if worker.capacity_per_s > 0 else math.inf


def choose(workers: Iterable[_Candidate], *, max_wait_s: float) -> _Candidate | None:
    """The worker with the least expected wait; of equals the quickest, of those the one longest without a request.

    None when every wait is above ``max_wait_s``: then the request is held.
    """
    waits = [(expected_wait_s(worker), worker) for worker in workers]
    possible = [(wait_s, worker) for wait_s, worker in waits if wait_s <= max_wait_s]
    if not possible:
        return None
    return min(possible, key=lambda pair: (pair[0], -pair[1].capacity_per_s, pair[1].sent_s))[1]
