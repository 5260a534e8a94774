"""What an engine counts, and how it shows it to Prometheus (``/metrics``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from pyworker.engine.core.dispatch import Dispatcher
from pyworker.engine.core.registry import Registry
from pyworker.gateway import meters as gateway
from pyworker.metrics import Histogram, counter, counters, gauge, gauges

__all__ = ["Meters", "snapshot"]


class Meters:
    """Counts since start, by endpoint where that makes sense."""

    def __init__(self) -> None:
        self.reports = 0
        self.refused_reports = 0
        self.route_seconds = Histogram("pyworker_engine_route_seconds", "Time to answer /route/, holding included.")
        self.routes: Counter[tuple[str, ...]] = Counter()
        self.actions: Counter[tuple[str, ...]] = Counter()
        self.gateway: gateway.Meters | None = None

    def routed(self, endpoint: str, *, is_routed: bool, took_s: float) -> None:
        """A call of ``/route/`` was answered."""
        self.routes[endpoint, "routed" if is_routed else "waiting"] += 1
        self.route_seconds.observe(took_s)

    def acted(self, endpoint: str, action: str) -> None:
        """A scaling action was begun."""
        self.actions[endpoint, action] += 1


def snapshot(meters: Meters, registry: Registry, dispatcher: Dispatcher, late_s: float, held: int) -> Iterable[Metric]:
    """All metrics of an engine."""
    states: Counter[tuple[str, ...]] = Counter()
    capacity: dict[tuple[str, ...], float] = {}
    load: dict[tuple[str, ...], float] = {}
    waiting: dict[tuple[str, ...], float] = {}
    for endpoint in registry.endpoints:
        workers = registry.workers(endpoint)
        states.update((endpoint.name, worker.state) for worker in workers)
        capacity[(endpoint.name,)] = sum(worker.capacity_per_s for worker in workers if worker.is_ready)
        load[(endpoint.name,)] = sum(worker.load for worker in workers)
        waiting[(endpoint.name,)] = dispatcher.waiting(endpoint)[0]
    by_endpoint = ("endpoint",)
    yield gauges("pyworker_engine_workers", "Workers by state.", ("endpoint", "state"), states)
    yield gauges("pyworker_engine_capacity_per_second", "Workload/s of workers that are ready.", by_endpoint, capacity)
    yield gauges("pyworker_engine_load", "Workload in flight at workers.", by_endpoint, load)
    yield gauges("pyworker_engine_requests_waiting", "Requests without a worker yet.", by_endpoint, waiting)
    yield counters("pyworker_engine_routes", "Answers of /route/.", ("endpoint", "answer"), meters.routes)
    yield counters("pyworker_engine_scaling_actions", "Scaling actions.", ("endpoint", "action"), meters.actions)
    yield counter("pyworker_engine_reports", "Workers' reports accepted.", meters.reports)
    yield counter("pyworker_engine_reports_refused", "Workers' reports refused.", meters.refused_reports)
    yield gauge("pyworker_engine_event_loop_late_seconds", "How late the event loop was, at worst, lately.", late_s)
    yield gauge("pyworker_engine_calls_held", "Calls of /route/ that are held open.", held)
    yield meters.route_seconds.family()
    if meters.gateway is not None:
        yield from meters.gateway.families()
