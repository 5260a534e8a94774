"""What clients ask: which worker does my request go to?"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from aiohttp import web

from pyworker.engine.calls.http import ENGINE, SCALER, answer, key_in, read_body
from pyworker.engine.core.keys import owner
from pyworker.engine.engine import Engine, moment
from pyworker.engine.scaler import Scaler
from pyworker.errors import PyWorkerError, WrongKey
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer, parse
from pyworker.wire_routes import RouteAnswers, parse_route_requests

__all__ = ["find_worker", "route", "routes"]

MOST_ROUTE_BYTES: Final = 16 * 1024
MOST_ROUTES_BYTES: Final = 16 * MOST_ROUTE_BYTES


async def route(request: web.Request) -> web.Response:
    """Which worker a request goes to; with ``wait`` (s) the call is held until there is one."""
    query = parse(await read_body(request, MOST_ROUTE_BYTES), RouteRequest)
    query.api_key = key_in(request, query.api_key)
    return answer(await find_worker(request.app[ENGINE], request.app[SCALER], query))


async def routes(request: web.Request) -> web.Response:
    """The same for several requests of one key. None is held; one that is refused is told why when it asks alone."""
    batch = parse_route_requests(await read_body(request, MOST_ROUTES_BYTES))
    key = key_in(request, batch.api_key)
    found = [await _found_now(request, query, key) for query in batch.requests]
    return answer(RouteAnswers(found))


async def _found_now(request: web.Request, query: RouteRequest, key: str | None) -> RouteAnswer | WaitingAnswer | None:
    query.api_key, query.wait = key, None
    try:
        return await find_worker(request.app[ENGINE], request.app[SCALER], query)
    except WrongKey:
        raise
    except PyWorkerError:
        return None


async def find_worker(engine: Engine, scaler: Scaler, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
    """A worker for this request, or why there is none yet. Raises WrongKey, BadRequest, KeyLimitReached."""
    endpoint, asking = engine.keys.endpoint_of(query.api_key, query.endpoint, engine.registry), owner(query.api_key)
    if engine.pressure.is_high and not query.request_idx:
        return engine.dispatcher.turned_away(endpoint, "the engine has too much to do: ask again")
    began_s = time.monotonic()
    limits = engine.keys.limits_of(query.api_key, endpoint)
    routed = engine.dispatcher.route(asking, endpoint, query, moment(), limits)
    engine.wake_placed()
    engine.probe_suspects()
    if isinstance(routed, WaitingAnswer) and not engine.registry.ready(endpoint):
        scaler.hurry()
    if isinstance(routed, WaitingAnswer) and query.wait and routed.request_idx:
        require_key = partial(engine.keys.require, query.api_key, endpoint)
        routed = await engine.hold(routed.request_idx, float(query.wait), asking, require_key) or routed
    engine.count_route(endpoint, routed, time.monotonic() - began_s)
    return routed
