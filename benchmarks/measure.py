"""What is measured of each proxy, and in which order: each kind of load goes round all proxies before the next."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from benchmarks.load.plan import Figures, Plan
from benchmarks.model_server import CHUNKS_PER_S
from benchmarks.probe import open_streams
from benchmarks.processes import StartError, wait_until
from benchmarks.proxies import DIRECT, ROOT, Proxy, Site, Target, UnavailableError
from benchmarks.results import Memory, Row
from benchmarks.system import group_pids, resident_mb

__all__ = ["FULL", "QUICK", "Budget", "Measurement", "Step"]

_TICKETS_PER_S = 16_000
_STREAMS = 256
_BIG_BYTES = 5_000_000
_SPARE_S = 30.0


@dataclass(frozen=True)
class Budget:
    """How long each part takes; s unless the name says otherwise."""

    rounds: int  # of the 64-connection and one-connection loads; the median counts
    warm_s: float
    many_s: float
    one_s: float
    ramp_s: float
    stream_s: float
    big_requests: int
    memory_requests: int
    dropped_clients: int

    @property
    def stream_chunks(self) -> int:
        """A stream lasts as long as the ramp, so that streams end and begin evenly from then on."""
        return round(self.ramp_s * CHUNKS_PER_S)


FULL = Budget(3, 1.0, 4.0, 2.0, 3.0, 6.0, 50, 100_000, 10_000)
QUICK = Budget(1, 0.5, 2.0, 1.0, 1.5, 2.5, 10, 20_000, 2_000)


@dataclass(frozen=True)
class Step:
    """A piece of the run: what it is, and doing it."""

    title: str
    do: Callable[[], None]


class Measurement:
    """Starts the proxies and fills a row for each."""

    def __init__(self, site: Site, proxies: list[Proxy], budget: Budget) -> None:
        self._site = site
        self._budget = budget
        self._proxies = [DIRECT, *proxies]
        self._targets: dict[str, Target] = {}
        self.rows = {proxy.name: Row(name=proxy.name, title=proxy.title) for proxy in self._proxies}
        self.memory: Memory | None = None

    def steps(self) -> Iterator[Step]:
        """Everything there is to do, in order."""
        yield from self._each("start", self._start)
        for _ in range(self._budget.rounds):
            yield from self._each("64 connections", self._many)
            yield from self._each("one connection", self._one)
        yield from self._each("256 streams", self._streams)
        yield from self._each("5 MB bodies", self._big)
        yield from self._each("memory at the end", self._resident_at_end)
        if "pass" in self.rows:
            yield Step("memory of a fresh pass-through worker", self._memory)

    def _each(self, what: str, measure: Callable[[Proxy], None]) -> Iterator[Step]:
        for proxy in self._proxies:
            yield Step(f"{what}: {proxy.title}", partial(self._unless_absent, measure, proxy))

    def _unless_absent(self, measure: Callable[[Proxy], None], proxy: Proxy) -> None:
        if self.rows[proxy.name].absent is None:
            measure(proxy)

    def _start(self, proxy: Proxy) -> None:
        row = self.rows[proxy.name]
        try:
            self._targets[proxy.name] = target = proxy.start(self._site, proxy.name)
        except (UnavailableError, StartError) as error:
            row.absent = str(error)
            return
        row.rss_start_mb = resident_mb(group_pids(target.group)) if target.group else None

    def _many(self, proxy: Proxy) -> None:
        budget = self._budget
        tickets = round((budget.warm_s + budget.many_s) * _TICKETS_PER_S)
        figures = self._load(
            proxy, mode="exchange", connections=64, warm_s=budget.warm_s, measure_s=budget.many_s, tickets=tickets
        )
        row = self.rows[proxy.name]
        row.answers_per_s.append(figures.answers / figures.window_s)
        row.many_p50_ms.append(figures.p50_ms)
        row.many_p99_ms.append(figures.p99_ms)
        if figures.cpu_s:
            row.answers_per_cpu_s.append(figures.answers / figures.cpu_s)

    def _one(self, proxy: Proxy) -> None:
        figures = self._load(proxy, mode="exchange", warm_s=0.3, measure_s=self._budget.one_s, tickets=5000)
        self.rows[proxy.name].one_p50_ms.append(figures.p50_ms)

    def _streams(self, proxy: Proxy) -> None:
        budget = self._budget
        figures = self._load(
            proxy, mode="stream", connections=_STREAMS, warm_s=budget.ramp_s, measure_s=budget.stream_s, tickets=2000
        )
        row = self.rows[proxy.name]
        row.first_chunk_p50_ms = figures.p50_ms
        row.chunks_kept_up = figures.chunks / figures.window_s / (_STREAMS * CHUNKS_PER_S)
        if figures.cpu_s and figures.chunks:
            row.chunk_cpu_us = figures.cpu_s / figures.chunks * 1e6

    def _big(self, proxy: Proxy) -> None:
        figures = self._load(
            proxy, mode="exchange", measure_s=10.0, requests=self._budget.big_requests, payload_bytes=_BIG_BYTES
        )
        if figures.cpu_s and figures.answers:
            self.rows[proxy.name].big_cpu_ms = figures.cpu_s / figures.answers * 1000

    def _resident_at_end(self, proxy: Proxy) -> None:
        if group := self._targets[proxy.name].group:
            self.rows[proxy.name].rss_end_mb = resident_mb(group_pids(group))

    def _memory(self) -> None:
        """A worker of its own, so that what it holds comes from this load only."""
        if self.rows["pass"].absent is not None:
            return
        budget = self._budget
        proxy = next(proxy for proxy in self._proxies if proxy.name == "pass")
        target = proxy.start(self._site, "memory")
        assert target.running is not None
        idle_mb = self._resident(target)
        warm, rest = budget.memory_requests // 10, budget.memory_requests - budget.memory_requests // 10
        self._load_target(target, mode="exchange", connections=64, requests=warm, measure_s=_SPARE_S)
        warm_mb = self._resident(target)
        served = self._load_target(target, mode="exchange", connections=64, requests=rest, measure_s=_SPARE_S)
        served_mb = self._resident(target)
        dropped = self._load_target(
            target, mode="drop", connections=64, requests=budget.dropped_clients, measure_s=_SPARE_S
        )
        wait_until(lambda: open_streams(self._site.model_port) == 0, target.running, "the model's streams were ended")
        self.memory = Memory(
            idle_mb=idle_mb,
            requests=warm + served.answers,
            warm_mb=warm_mb,
            served_mb=served_mb,
            dropped_clients=dropped.answers,
            dropped_mb=self._resident(target),
            failures=dict(Counter(served.failures) + Counter(dropped.failures)),
        )
        self._site.processes.stop(target.running)

    @staticmethod
    def _resident(target: Target) -> float:
        return resident_mb(group_pids(target.group))

    def _load(self, proxy: Proxy, **plan: object) -> Figures:
        figures = self._load_target(self._targets[proxy.name], **plan)
        row = self.rows[proxy.name]
        row.failures = dict(Counter(row.failures) + Counter(figures.failures))
        return figures

    def _load_target(self, target: Target, **plan: object) -> Figures:
        """Run the load generator; it shares a core with the model server."""
        whole = {
            "port": target.port,
            "auth": target.auth,
            "group": target.group,
            "first_reqnum": self._site.engine.reqnums(),
        } | plan
        body = msgspec.json.encode(msgspec.convert(whole, Plan))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            input=body,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            check=True,
            start_new_session=True,
        )
        return msgspec.json.decode(done.stdout, type=Figures)
