"""Prometheus metrics of a worker. Counts are read from the ledger when asked for; only timings are collected."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["Histogram", "Snapshot", "Timings", "by_outcome", "counter", "exposition", "gauge"]

BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

Snapshot = Callable[[], Iterable[Metric]]


class Histogram:
    """Counts of durations (s) by bucket. One thread uses it: no lock."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, took_s: float) -> None:
        """Count one."""
        self._counts[bisect.bisect_left(BUCKETS_S, took_s)] += 1
        self._sum_s += took_s

    def family(self) -> Metric:
        """As Prometheus has it: each bucket counts all that was quicker."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum_s)


class Timings:
    """How long requests waited, worked, and had to wait for the model's first byte."""

    def __init__(self) -> None:
        self.queue = Histogram("pyworker_queue_seconds", "Time a request waited in this worker's queue.")
        self.work = Histogram("pyworker_work_seconds", "Time from a request's turn to the end of its answer.")
        self.first_byte = Histogram(
            "pyworker_first_byte_seconds", "Time from a request's turn to the head of the model's answer."
        )

    def families(self) -> list[Metric]:
        """All of them."""
        return [self.queue.family(), self.work.family(), self.first_byte.family()]


class _OnDemand(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        return self._snapshot()


def exposition(snapshot: Snapshot) -> bytes:
    """Metrics in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OnDemand(snapshot))
    return generate_latest(registry)


def gauge(name: str, text: str, value: float) -> Metric:
    """A value of now."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """A count since start."""
    return CounterMetricFamily(name, text, value=value)


def by_outcome(name: str, text: str, values: Mapping[str, float]) -> Metric:
    """A count since start for each outcome."""
    family = CounterMetricFamily(name, text, labels=["outcome"])
    for outcome, value in values.items():
        family.add_metric([outcome], value)
    return family
