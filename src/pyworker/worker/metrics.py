"""Prometheus metrics of a worker. Counts are read from the ledger when asked for; only timings are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["Snapshot", "Timings", "exposition"]

_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

Snapshot = Callable[[], Iterable[Metric]]


class Timings:
    """Histograms, in s."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._queue = self._histogram("pyworker_queue_seconds", "Time a request waited in this worker's queue.")
        self._work = self._histogram("pyworker_work_seconds", "Time from a request's turn to the end of its answer.")
        self._first = self._histogram(
            "pyworker_first_byte_seconds", "Time from a request's turn to the head of the model's answer."
        )

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, buckets=_BUCKETS_S, registry=self.registry)

    def observe(self, *, queue_s: float, work_s: float) -> None:
        """A request has ended."""
        self._queue.observe(queue_s)
        self._work.observe(work_s)

    def first_byte(self, after_s: float) -> None:
        """The head of the model's answer has come."""
        self._first.observe(after_s)


class _OnDemand(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        return self._snapshot()


def exposition(timings: Timings, snapshot: Snapshot) -> bytes:
    """All metrics in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OnDemand(snapshot))
    return generate_latest(registry) + generate_latest(timings.registry)


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
