"""Seeing inside a worker: /pyworker/health for everybody, the details for its own machine or its mtoken's bearer."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client.metrics_core import Metric

from pyworker import metrics
from pyworker.errors import MtokenMissing
from pyworker.worker.books import Books
from pyworker.worker.core.gate import Gate
from pyworker.worker.core.ledger import Outcome, Stage
from pyworker.worker.core.readiness import Readiness, State
from pyworker.worker.core.sessions import Sessions
from pyworker.worker.inbound.answers import json_response
from pyworker.worker.reporting.engine_link import EngineLink
from pyworker.worker.routes import Route
from pyworker.worker.warm_up import WarmUp
from pyworker.worker.watchdog import Watchdog

__all__ = ["Inside"]

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Inside:
    """The pages, over the parts they show."""

    mtoken: str
    readiness: Readiness
    books: Books
    sessions: Sessions
    gate: Gate
    engine: EngineLink
    warm_up: WarmUp
    watchdog: Watchdog
    routes: list[Route]
    update: Callable[[], None]
    _most_received: float = field(default=0.0, init=False)

    def pages(self) -> list[web.RouteDef]:
        """The routes under /pyworker/."""
        return [
            web.get("/pyworker/health", self.health),
            web.get("/pyworker/ready", self._for_insiders(self.ready)),
            web.get("/pyworker/logs", self._for_insiders(self.logs)),
            web.get("/pyworker/metrics", self._for_insiders(self.metrics)),
            web.post("/pyworker/update", self._for_insiders(self.start_update)),
        ]

    def _for_insiders(self, page: Page) -> Page:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not (_from_this_machine(request) or self._has_mtoken(request)):
                raise MtokenMissing("no mtoken, or a wrong one")
            return await page(request)

        return guarded

    def _has_mtoken(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return bool(self.mtoken) and hmac.compare_digest(given, f"Bearer {self.mtoken}".encode())

    async def health(self, _request: web.Request) -> web.StreamResponse:
        """200 when ready, 503 when not; nothing but the state."""
        return json_response({"status": self.readiness.state.value}, 200 if self.readiness.is_ready else 503)

    async def ready(self, _request: web.Request) -> web.StreamResponse:
        """The state, since when, what is waited for, the error, the model's last log lines."""
        readiness = self.readiness
        benchmark = self.warm_up.benchmark
        benchmarking = benchmark.progress if benchmark and readiness.state is State.BENCHMARKING else ""
        page = {
            "ready": readiness.is_ready,
            "state": readiness.state.value,
            "for_s": round(time.monotonic() - readiness.since_s, 3),
            "waiting_for": self._left() if readiness.state is State.DRAINING else readiness.waiting_for,
            "error": readiness.error,
            "benchmark": benchmarking,
            "authentication": self.gate.mode.value,
            "engine_error": self.engine.last_error,
            "model_log": str(self.warm_up.tail.path) if self.warm_up.tail else None,
            "model_log_problem": self.warm_up.tail.problem if self.warm_up.tail else None,
            "model_log_last_lines": list(self.warm_up.tail.last)[-20:] if self.warm_up.tail else [],
        }
        return json_response(page, 200 if readiness.is_ready else 503)

    def _left(self) -> str:
        """What a worker that drains waits for."""
        counts = {"request": self.books.ledger.in_flight_count, "session": len(self.sessions)}
        told = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
        return f"{' and '.join(told)} to finish" if told else ""

    async def logs(self, _request: web.Request) -> web.StreamResponse:
        """The model's last log lines, as text."""
        lines = list(self.warm_up.tail.last) if self.warm_up.tail else []
        return web.Response(text="".join(f"{line}\n" for line in lines))

    async def metrics(self, _request: web.Request) -> web.StreamResponse:
        """Prometheus."""
        body = metrics.exposition(self._snapshot)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def start_update(self, _request: web.Request) -> web.StreamResponse:
        """Drain, then end with the status that the start script takes as "update"."""
        self.update()
        return json_response({"success": True}, 202)

    def _snapshot(self) -> Iterable[Metric]:
        ledger, settled = self.books.ledger, self.books.ledger.settled
        self._most_received = max(self._most_received, ledger.received.workload)  # corrected, it falls: no counter may
        requests = {outcome.name.lower(): settled[outcome].requests for outcome in Outcome}
        workload = {outcome.name.lower(): settled[outcome].workload for outcome in Outcome}
        working = sum(entry.stage is Stage.WORKING for entry in ledger.in_flight)
        yield metrics.gauge("pyworker_ready", "1 when requests are taken.", float(self.readiness.is_ready))
        yield metrics.counter("pyworker_requests_received", "Requests received.", ledger.received.requests)
        yield metrics.counter("pyworker_workload_received", "Workload received.", self._most_received)
        yield metrics.by_outcome("pyworker_requests", "Requests by outcome.", requests)
        yield metrics.by_outcome("pyworker_workload", "Workload by outcome.", workload)
        yield metrics.gauge("pyworker_requests_working", "Requests at the model server.", working)
        yield metrics.gauge("pyworker_requests_waiting", "Requests in the queue.", ledger.in_flight_count - working)
        yield metrics.gauge("pyworker_workload_in_flight", "Workload waiting or working.", ledger.in_flight_workload)
        yield metrics.gauge("pyworker_capacity_per_second", "Measured workload per second.", ledger.capacity_per_s)
        yield metrics.gauge("pyworker_sessions_open", "Open sessions.", len(self.sessions))
        yield metrics.gauge("pyworker_books_imbalance", "What the books miss: always 0.", ledger.imbalance())
        yield metrics.gauge(
            "pyworker_model_errored", "1 while the model has an error.", float(bool(self.readiness.error))
        )
        yield metrics.counter("pyworker_model_errors", "Errors of the model since start.", self.readiness.errors)
        yield metrics.counter("pyworker_engine_errors", "Calls to the engine that failed.", self.engine.errors)
        yield metrics.counter(
            "pyworker_event_loop_blocked", "Times the event loop stood still.", self.watchdog.blocked_count
        )
        yield from self.books.timings.families()
        bad = sum(route.bad_workloads for route in self.routes)
        yield metrics.counter("pyworker_bad_workloads", "Workload counts that were no finite number from 0 up.", bad)


def _from_this_machine(request: web.Request) -> bool:
    """Over loopback, and not handed on by a proxy that stands on this machine."""
    if "Forwarded" in request.headers or "X-Forwarded-For" in request.headers:
        return False
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return bool(peer) and ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback
