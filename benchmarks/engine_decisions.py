"""``python -m benchmarks.engine_decisions``: the CPU time of the engine's decisions, each alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from pyworker.engine.core.parameters import EndpointParameters
from pyworker.engine.core.routing import choose
from pyworker.engine.core.scaling.decision import decide
from pyworker.engine.core.scaling.memory import Memory
from pyworker.engine.core.scaling.view import GroupView, Phase, View, WorkerView
from pyworker.load.summary import percentile

MAX_WAIT_S = 30.0


@dataclass(slots=True)
class _Candidate:
    load: float
    capacity_per_s: float
    sent_s: float


class Row(NamedTuple):
    """A decision, its times in s, and what it should not exceed."""

    name: str
    times_s: list[float]
    target: str
    most_p99_s: float
    least_per_s: float = 0.0

    @property
    def p99_s(self) -> float:
        """Of a hundred, the longest but one."""
        return percentile(sorted(self.times_s), 99)

    @property
    def per_s(self) -> float:
        """Decisions in a second, one after the other."""
        return len(self.times_s) / sum(self.times_s)

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.p99_s <= self.most_p99_s and self.per_s >= self.least_per_s


def routing(workers: int, rounds: int = 20_000) -> Row:
    """Requests for workers of which each has something to do; each choice makes its worker busier."""
    random = Random(1)  # noqa: S311 - the same in each run
    fleet = [_Candidate(random.uniform(0, 900), random.uniform(80, 120), 0.0) for _ in range(workers)]

    def once(number: int) -> None:
        chosen = choose(fleet, max_wait_s=MAX_WAIT_S, below=random.randrange)
        if chosen is not None:
            chosen.load, chosen.sent_s = (chosen.load + 10.0) % 900.0, float(number)

    return Row(f"routing, {workers} workers", _timed(once, rounds), "1 ms, 10,000/s", 1e-3, 10_000)


def scaling(workers: int, rounds: int = 300) -> Row:
    """A load that rises and falls over workers of which half are cold: about every tenth decision has many actions."""
    parameters = EndpointParameters(max_workers=2 * workers)
    groups = [GroupView(1, "a"), GroupView(2, "b")]
    fleet = [
        WorkerView(
            id=number,
            group_id=1 + number % 2,
            phase=Phase.ACTIVE if number % 2 else Phase.COLD,
            since_s=-1000.0,
            capacity_per_s=100.0 + number % 7,
            load=float(number % 50),
            busy=number % 3,
            was_ready=True,
        )
        for number in range(workers)
    ]
    memory = Memory()

    def once(number: int) -> None:
        nonlocal memory
        load_per_s = workers * (40.0 + 30.0 * (number % 120 - 60) / 60)
        view = View(float(number), parameters, groups, fleet, load_per_s, 10_000, load_per_s)
        memory = decide(view, memory).memory

    return Row(f"scaling, {workers} workers", _timed(once, rounds), "10 ms", 1e-2)


def _timed(once: Callable[[int], None], rounds: int) -> list[float]:
    times_s: list[float] = []
    for number in range(rounds):
        began_s = time.process_time()
        once(number)
        times_s.append(time.process_time() - began_s)
    return times_s


def main() -> int:
    """Measure and show. The status is 1 when a target is missed."""
    rows = [routing(10), routing(100), routing(1000), scaling(10), scaling(100), scaling(1000)]
    table = Table("decision", "p50", "p99", "per CPU-s", "target", "", show_lines=False)
    for row in rows:
        median_s = percentile(sorted(row.times_s), 50)
        times = [f"{time_s * 1000:.3f} ms" for time_s in (median_s, row.p99_s)]
        table.add_row(row.name, *times, f"{row.per_s:,.0f}", row.target, "met" if row.is_met else "missed")
    Console().print(table)
    return 0 if all(row.is_met for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
