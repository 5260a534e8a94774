"""Looking at an engine: health, metrics, a snapshot of everything, and changes as they happen."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from aiohttp import web

from pyworker import metrics
from pyworker.engine.calls.http import ENGINE, SCALER, account_only, answer, still_opens
from pyworker.engine.calls.management import endpoint_info, group_info
from pyworker.engine.core.endpoints import BURST_WINDOW_S, STABLE_WINDOW_S, Endpoint
from pyworker.engine.engine import Engine, moment
from pyworker.engine.metrics import snapshot
from pyworker.engine.scaler import Scaler
from pyworker.engine.telling import figures_of
from pyworker.errors import Overloaded
from pyworker.version import __version__

__all__ = ["ROUTES"]

_EVENT_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # for nginx
}


async def health(_: web.Request) -> web.Response:
    """Up."""
    return answer({"status": "ok"})


@account_only
async def prometheus(request: web.Request) -> web.Response:
    """Metrics in Prometheus' text format."""
    engine = request.app[ENGINE]
    body = metrics.exposition(
        lambda: snapshot(
            engine.meters, engine.registry, engine.dispatcher, engine.pressure.late_s, engine.pressure.held
        )
    )
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@account_only
async def state(request: web.Request) -> web.Response:
    """Everything there is, as it is now; no keys."""
    engine, scaler = request.app[ENGINE], request.app[SCALER]
    endpoints = [_endpoint(engine, scaler, endpoint) for endpoint in engine.registry.endpoints]
    return answer({"version": __version__, "at": time.time(), "endpoints": endpoints})


@account_only
async def events(request: web.Request) -> web.StreamResponse:
    """Changes as server-sent events: ``worker``, ``endpoint``, ``decision``, ``log``; ``missed``: read /state anew.

    With ``?figures=1`` also ``figures``, once a second. Ends when the key or login that opened it opens nothing more.
    """
    engine = request.app[ENGINE]
    feed = engine.feed
    if feed.is_full:
        raise Overloaded("too many listen to /events already: close one", retry_after_s=10.0)
    response = web.StreamResponse(headers=_EVENT_HEADERS)
    await response.prepare(request)
    wanted = partial(figures_of, engine, request.app[SCALER]) if request.query.get("figures") else None
    async for event in feed.listen(wanted):
        if not still_opens(request, engine):
            break
        await response.write(event)
    return response


ROUTES: Final = (
    web.get("/health", health),
    web.get("/metrics", prometheus),
    web.get("/state", state),
    web.get("/events", events),
)


def _endpoint(engine: Engine, scaler: Scaler, endpoint: Endpoint) -> dict[str, Any]:
    now_s, epoch_s = moment()
    workers = engine.registry.workers(endpoint)
    waiting, held = engine.dispatcher.waiting(endpoint)
    decision = scaler.decisions.get(endpoint)
    info = endpoint_info(engine, endpoint)
    info.api_key = ""
    return {
        "endpoint": info,
        "workergroups": [group_info(group) for group in engine.registry.groups(endpoint)],
        "workers": [worker.info(now_s, epoch_s) for worker in workers],
        "load": {
            "stable_per_s": endpoint.arrivals.per_s(STABLE_WINDOW_S, now_s) * endpoint.counted_per_claimed,
            "burst_per_s": endpoint.arrivals.per_s(BURST_WINDOW_S, now_s) * endpoint.counted_per_claimed,
            "in_flight": sum(worker.load for worker in workers),
            "capacity_per_s": sum(worker.capacity_per_s for worker in workers if worker.is_ready),
            "waiting_requests": waiting,
            "waiting": held,
        },
        "decision": decision.why if decision else "",
        "active_target_per_s": decision.active_target_per_s if decision else 0.0,
        "total_target_per_s": decision.total_target_per_s if decision else 0.0,
    }
