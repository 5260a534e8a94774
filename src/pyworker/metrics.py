"""Prometheus's text format: counts are read when they are asked for, only durations are collected."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

__all__ = ["Histogram", "Snapshot", "by_outcome", "counter", "counters", "exposition", "gauge", "gauges"]

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
    return counters(name, text, ("outcome",), {(outcome,): value for outcome, value in values.items()})


def counters(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    """Counts since start, by the values of the labels."""
    return _labelled(CounterMetricFamily(name, text, labels=labels), values)


def gauges(name: str, text: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    """Values of now, by the values of the labels."""
    return _labelled(GaugeMetricFamily(name, text, labels=labels), values)


def _labelled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[tuple[str, ...], float]) -> Metric:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
