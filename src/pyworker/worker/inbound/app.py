"""The aiohttp application of a worker, and the one place where exceptions become answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web
from aiohttp.http_parser import HttpRequestParserPy

from pyworker.api import EndpointHandler
from pyworker.errors import ConfigurationError, PyWorkerError
from pyworker.handlers import PassThroughHandler
from pyworker.net import FIRST_REQUEST_S, KEEP_ALIVE_S, LINGER_S
from pyworker.worker.inbound.answers import RefusalLog, json_response

__all__ = ["ServerProtocol", "SlowStarters", "make_app"]

log = logging.getLogger("pyworker.app")

Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[..., Awaitable[web.StreamResponse]]


class ServerProtocol(web.RequestHandler):
    """aiohttp's, but what is no HTTP is told so in JSON too, and none of it gets into the log."""

    __slots__ = ()

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, *, any_method: bool) -> None:
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False}
        super().__init__(server, loop=loop, keepalive_timeout=KEEP_ALIVE_S, lingering_time=LINGER_S, **options)
        if any_method:  # the quick parser has a list of methods, the one in Python takes whatever is a word
            self._parser = HttpRequestParserPy(
                self,
                loop,
                self._read_bufsize,
                payload_exception=web.RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=self._max_msg_queue_size,
            )

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read."""
        log.debug("a request that is no HTTP: %s", type(exc).__name__)
        response = json_response({"error": f"the request is not HTTP: {type(exc).__name__}"}, status)
        response.force_close()
        return response


class SlowStarters:
    """Connections that have not sent the head of a request yet; they get FIRST_REQUEST_S, then they are closed."""

    def __init__(self) -> None:
        self._since_s: dict[asyncio.BaseProtocol, float] = {}

    def watched(self, protocol: web.RequestHandler) -> web.RequestHandler:
        """A new connection's protocol."""
        self._since_s[protocol] = time.monotonic()
        return protocol

    def has_asked(self, protocol: asyncio.BaseProtocol) -> None:
        """Its first request is there."""
        self._since_s.pop(protocol, None)

    async def close_forever(self) -> None:
        """Until cancelled: close those whose time is up."""
        while True:
            await asyncio.sleep(1.0)
            late_s = time.monotonic() - FIRST_REQUEST_S
            for protocol in [one for one, since_s in self._since_s.items() if since_s < late_s]:
                del self._since_s[protocol]
                if isinstance(protocol, web.RequestHandler):
                    protocol.force_close()


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
