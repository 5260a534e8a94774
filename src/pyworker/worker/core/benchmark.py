"""From the rounds of a benchmark to a capacity, and the fingerprint under which it is kept. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyworker.errors import BenchmarkFailed

__all__ = ["Plan", "Round", "capacity_per_s", "fingerprint"]

_SHORTEST_S = 0.000_001


@dataclass(frozen=True, slots=True)
class Plan:
    """``runs`` rounds of ``concurrency`` requests at once, after one unmeasured request if ``warm_up``."""

    runs: int
    concurrency: int
    warm_up: bool


@dataclass(frozen=True, slots=True)
class Round:
    """One measured round: the workload of its successful requests, its time, and why requests failed."""

    workload: float
    took_s: float
    failures: Sequence[str] = ()

    @property
    def workload_per_s(self) -> float:
        """What this round got through."""
        return self.workload / max(self.took_s, _SHORTEST_S)


def capacity_per_s(rounds: Sequence[Round]) -> float:
    """Workload/s of the best round; requests that failed count for nothing.

    Raises BenchmarkFailed when no request succeeded.
    """
    best = max((round_.workload_per_s for round_ in rounds), default=0.0)
    if best <= 0.0:
        reasons = [reason for round_ in rounds for reason in round_.failures]
        raise BenchmarkFailed("no request of the benchmark succeeded: " + (reasons[0] if reasons else "workload is 0"))
    return best


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """A name for a worker and its benchmark: another worker, another unit, another machine give another one."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:32]
