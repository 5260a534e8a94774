"""``python -m benchmarks.engine_decisions``: the CPU time of the engine's decisions, each alone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from rich.console import Console
from rich.table import Table

from pyworker.engine.core.dispatch import Dispatcher
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.figures import endpoint_figures
from pyworker.engine.core.numbers import Numbers
from pyworker.engine.core.parameters import EndpointParameters
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.routing import choose
from pyworker.engine.core.scaling.decision import decide
from pyworker.engine.core.scaling.memory import Memory
from pyworker.engine.core.scaling.view import GroupView, Phase, View, WorkerView
from pyworker.engine.core.signing import Signer
from pyworker.engine.core.workers import Worker
from pyworker.load.summary import percentile
from pyworker.wire import FinishedRequest, WorkerStatus, dump
from pyworker.wire_dashboard import Figures

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


def figures(workers: int, rounds: int = 300) -> Row:
    """What is told each second to all who look at the dashboard: made once, and encoded."""
    registry = Registry()
    endpoint = registry.add_endpoint(Endpoint(1, "a"))
    group = registry.add_group(Group(1, endpoint))
    dispatcher = Dispatcher(registry, Signer({1: generate_private_key(65537, 2048)}, secrets.token_bytes), Numbers())
    for number in range(1, workers + 1):
        worker = registry.add_worker(Worker(number, group, url="http://127.0.0.1:9"), number.to_bytes(32))
        told = WorkerStatus(id=number, mtoken="", state="ready", max_perf=100.0, cur_load=40.0, url=worker.url)
        dispatcher.report(worker, told, 0.0)
    for number in range(2_000):
        ended = {"entered_queue_at": 0.0, "work_started_at": number % 7 / 10, "work_completed_at": 1.0 + number % 13}
        endpoint.times.add(FinishedRequest(number, success=True, status="Success", **ended), 0.0)

    def once(_: int) -> None:
        dump(Figures(at=0.0, endpoints=[endpoint_figures(endpoint, registry, dispatcher, None, 1.0)]))

    return Row(f"figures, {workers} workers", _timed(once, rounds), "50 ms, once a second", 5e-2)


def _timed(once: Callable[[int], None], rounds: int) -> list[float]:
    times_s: list[float] = []
    for number in range(rounds):
        began_s = time.process_time()
        once(number)
        times_s.append(time.process_time() - began_s)
    return times_s


def main() -> int:
    """Measure and show. The status is 1 when a target is missed."""
    rows = [routing(10), routing(100), routing(1000), scaling(10), scaling(100), scaling(1000), figures(100)]
    table = Table("decision", "p50", "p99", "per CPU-s", "target", "", show_lines=False)
    for row in rows:
        median_s = percentile(sorted(row.times_s), 50)
        times = [f"{time_s * 1000:.3f} ms" for time_s in (median_s, row.p99_s)]
        table.add_row(row.name, *times, f"{row.per_s:,.0f}", row.target, "met" if row.is_met else "missed")
    Console().print(table)
    return 0 if all(row.is_met for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
