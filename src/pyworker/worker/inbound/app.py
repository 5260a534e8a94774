"""The aiohttp application of a worker, and the one place where exceptions become answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from pyworker.api import EndpointHandler
from pyworker.connections import SlowStarters
from pyworker.errors import ConfigurationError, HeadTooLarge, PyWorkerError
from pyworker.handlers import PassThroughHandler
from pyworker.net import MAX_HEAD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from pyworker.worker.inbound.answers import RefusalLog, json_response

__all__ = ["make_app"]

log = logging.getLogger("pyworker.app")

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[..., Awaitable[web.StreamResponse]]


def make_app(
    routes: Iterable[web.AbstractRouteDef], *, max_body_bytes: int, starters: SlowStarters, refusals: RefusalLog
) -> web.Application:
    """An application whose every error is JSON with a reason. Raises ConfigurationError for routes that clash."""
    app = web.Application(client_max_size=max_body_bytes, middlewares=[_answer_errors(starters, refusals)])
    for route in routes:
        _check(route)
        try:
            app.add_routes([route])
        except (RuntimeError, ValueError) as error:
            raise ConfigurationError(f"the route {route!r} cannot be registered: {error}") from None
    return app


def _check(route: web.AbstractRouteDef) -> None:
    """Say of an author's likely mistakes what to do, before aiohttp trips over them."""
    if not isinstance(route, web.RouteDef):
        return
    if not route.path.startswith("/"):
        raise ConfigurationError(f'the path of the route {route.path!r} must begin with "/"')
    if isinstance(route.handler, EndpointHandler | PassThroughHandler):
        raise ConfigurationError(
            f"the route {route.path} has a handler that is not mounted: give it backend.create_handler(...) of it, "
            "or take backend.routes(...)"
        )
    if not callable(route.handler):
        raise ConfigurationError(f"the route {route.path} has {route.handler!r}, which is no function")


def _answer_errors(starters: SlowStarters, refusals: RefusalLog) -> Middleware:
    @web.middleware
    async def answer_errors(request: web.Request, handler: Answerer) -> web.StreamResponse:
        starters.has_asked(request.protocol)
        try:
            _check_head(request)
            return await handler(request)
        except PyWorkerError as error:
            refusals.add(request.method, request.rel_url.raw_path, error)
            return _answer(request, error)
        except web.HTTPException as error:
            return _as_json(error)
        except ConnectionError:
            raise  # the client has gone: nobody to answer
        except Exception:
            log.exception("%s %s failed", request.method, request.rel_url.raw_path)
            return json_response({"error": "the worker failed on this request; its log has the trace"}, 500)

    return answer_errors


def _check_head(request: web.Request) -> None:
    """The limits of the fast lane. Raises HeadTooLarge."""
    headers = request.raw_headers
    line_bytes = len(f"{request.method} {request.raw_path} HTTP/1.1")
    head_bytes = line_bytes + sum(len(name) + len(value) + 4 for name, value in headers)
    if line_bytes > MAX_LINE_BYTES or head_bytes > MAX_HEAD_BYTES or len(headers) > MAX_HEADERS:
        raise HeadTooLarge()


def _answer(request: web.Request, error: PyWorkerError) -> web.Response:
    response = json_response(error.body(), error.status, error.headers())
    if not request.content.is_eof():  # the rest of a body that nobody reads
        response.force_close()
    return response


def _as_json(error: web.HTTPException) -> web.Response:
    """aiohttp's own answers (404, 405) and those an author raises; what is no plain text stays as it is."""
    if error.status < 400 or error.content_type != "text/plain":
        raise error
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return json_response({"error": error.text}, error.status, headers)
