"""The Backend: collects what a worker's author says about the model server and its handlers. Does no I/O."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from pyworker.api import EndpointHandler, LogAction
from pyworker.author_metrics import Metrics
from pyworker.config_rules import a_lifecycle, refuse
from pyworker.errors import ConfigurationError, NotReady
from pyworker.handlers import DeclaredHandler, PassThroughHandler
from pyworker.names import refuse_unknown
from pyworker.worker.failed_start import watch_main_program

__all__ = ["Backend", "Handler", "Mount", "Running", "is_address", "is_remote"]

Handler = EndpointHandler[Any] | PassThroughHandler
AiohttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


_PLAIN_PATH = re.compile(r"(/(?!\.{0,2}(?:/|$))[^/?#{}\\\s\x00-\x1f\x7f]+)+")  # no empty part, no "..", no query


watch_main_program()  # a Backend that is given nonsense ends the program before there is a server to tell of it


class Running(Protocol):
    """What a Backend offers its author while its server runs."""

    @property
    def session(self) -> aiohttp.ClientSession: ...
    @property
    def metrics(self) -> Metrics: ...
    def backend_errored(self, msg: str) -> None: ...


class Mount:
    """A handler and, while the server runs, what answers for it."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.answer: AiohttpHandler | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler. Raises NotReady while no server runs."""
        if self.answer is None:
            raise NotReady()
        return await self.answer(request)


class Backend:
    """A model server and how to stand before it.

    Args:
        model_server_url: ``http[s]://host:port[/path]``; without it MODEL_SERVER_URL says. Handlers that all call a
            ``remote_function`` need none.
        model_log_file: the model server's log; without it MODEL_LOG says, and without both readiness comes from the
            model's health URL or port.
        allow_parallel_requests: False: the model takes one request at a time.
        benchmark_handler: whose requests measure the capacity; None: it is learned from the requests served.
        log_actions: what lines of the log mean that contain a string.
        max_wait_time: s; for handlers whose ``max_queue_time`` is None.
        healthcheck_url: path or absolute URL; before the handlers' ``healthcheck_endpoint``.
        max_sessions: open sessions at once, None or 0 for no limit.
        close_routes: paths on the model server that a session's ``on_close_route`` may name, besides the handlers' own.
        lifecycle: an async context manager entered before the worker can become ready.
        fixed_throughput: the capacity in workload/s; no benchmark is run.
        readiness: "log" or "health"; by default "log" when there is a log file and a ModelLoaded action.
        unsecured, report_addr, mtoken: instead of what the environment says.
        version: what reports call this worker.

    Raises ConfigurationError for what cannot work, naming the argument.
    """

    def __init__(  # noqa: PLR0913 - the contract
        self,
        model_server_url: str = "",
        model_log_file: str | None = None,
        allow_parallel_requests: bool = False,
        benchmark_handler: Handler | None = None,
        log_actions: Sequence[tuple[LogAction, str]] = (),
        *,
        max_wait_time: float | None = None,
        healthcheck_url: str | None = None,
        max_sessions: int | None = None,
        close_routes: Sequence[str] = (),
        lifecycle: Any = None,
        fixed_throughput: float | None = None,
        readiness: Literal["log", "health"] | None = None,
        unsecured: bool | None = None,
        report_addr: str | None = None,
        mtoken: str | None = None,
        version: str = "",
        **unknown: Any,
    ) -> None:
        refuse_unknown("Backend", unknown, list(inspect.signature(Backend).parameters)[:-1])
        self.model_server_url = model_server_url.rstrip("/")
        self.model_log_file = model_log_file
        self.allow_parallel_requests = allow_parallel_requests
        self.benchmark_handler = benchmark_handler
        self.log_actions = [_log_action(given) for given in log_actions]
        self.max_wait_time = max_wait_time
        self.healthcheck_url = healthcheck_url
        self.max_sessions = max_sessions
        self.close_routes = _close_routes(close_routes)
        self.lifecycle = lifecycle
        self.fixed_throughput = fixed_throughput
        self.readiness: Literal["log", "health"] | None = readiness
        self.unsecured = unsecured
        self.report_addr = report_addr
        self.mtoken = mtoken
        self.version = version
        self.mounts: list[Mount] = []
        self.running: Running | None = None
        self._check()

    def _check(self) -> None:
        refuse("Backend", a_lifecycle("lifecycle", self.lifecycle))
        if self.model_server_url and not is_address(self.model_server_url):
            raise ConfigurationError(
                f"Backend's model_server_url is {self.model_server_url!r}; give an address like http://127.0.0.1:5001"
            )
        if self.readiness not in {"log", "health", None}:
            raise ConfigurationError(f'Backend\'s readiness is {self.readiness!r}; it takes "log" or "health"')
        if not (self.fixed_throughput is None or (_is_number(self.fixed_throughput) and self.fixed_throughput > 0)):
            raise ConfigurationError("Backend's fixed_throughput must be a number above 0 (workload/s), or None")
        for name in ("max_wait_time", "max_sessions"):
            if not (getattr(self, name) is None or _is_number(getattr(self, name))):
                raise ConfigurationError(f"Backend's {name} must be a number from 0 up, or None for no limit")

    def create_handler(self, handler: Handler) -> AiohttpHandler:
        """An aiohttp handler, for ``web.post(path, ...)`` and the like. Raises ConfigurationError once it serves."""
        if self.running is not None:
            raise ConfigurationError(
                "create_handler was called while the server runs, when no handler can be added: make them all before "
                "start_server, and choose among them in the request"
            )
        mount = Mount(handler)
        self.mounts.append(mount)
        return mount.handle

    def routes(self, *handlers: Handler) -> list[web.RouteDef]:
        """Routes for handlers at their own endpoints and methods."""
        return [route for handler in handlers for route in self.routes_at(handler.endpoint, handler)]

    def routes_at(self, path: str, handler: Handler) -> list[web.RouteDef]:
        """Routes for one handler at this path on the worker, one for each of its methods."""
        methods = handler.methods
        return [_route(method, path, self.create_handler(handler), methods) for method in methods]

    @property
    def is_remote_only(self) -> bool:
        """Whether nothing it serves needs a model server: every handler calls a function instead."""
        return bool(self.mounts) and all(is_remote(mount.handler) for mount in self.mounts)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP client to the model server; relative paths are its. Only while the server runs."""
        return self._while_running().session

    @property
    def metrics(self) -> Metrics:
        """The worker's numbers. Only while the server runs."""
        return self._while_running().metrics

    def backend_errored(self, msg: str) -> None:
        """Say that the model has failed: the engine is told, and requests get 503 until it is well again."""
        self._while_running().backend_errored(msg)

    def _while_running(self) -> Running:
        if self.running is None:
            raise ConfigurationError("this is there only while the server runs: use it inside a handler")
        return self.running


def is_remote(handler: Handler) -> bool:
    """Whether it calls a function instead of a model server."""
    if isinstance(handler, EndpointHandler):
        return handler.is_remote
    return isinstance(handler, DeclaredHandler) and handler.remote_function is not None


def _route(method: str, path: str, handle: AiohttpHandler, methods: Sequence[str]) -> web.RouteDef:
    if method.upper() != "GET":
        return web.route(method, path, handle)
    return web.get(path, handle, allow_head="HEAD" not in methods)  # aiohttp adds HEAD to GET by itself


def is_address(url: str) -> bool:
    """Whether this is the address of an HTTP server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _close_routes(given: Any) -> tuple[str, ...]:
    routes = [given] if isinstance(given, str) else list(given)  # a string is a sequence too, and a likely mistake
    for route in routes:
        if isinstance(given, str) or not isinstance(route, str) or not _PLAIN_PATH.fullmatch(route):
            raise ConfigurationError(
                f"Backend's close_routes holds {route!r}; give a list of paths on the model server, like ['/end']"
            )
    return tuple(routes)


def _log_action(given: Any) -> tuple[LogAction, str]:
    try:
        action, text = given
        pair = LogAction(action), text
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"Backend's log_actions holds {given!r}; give pairs like (LogAction.ModelLoaded, 'server started')"
        ) from None
    if not isinstance(text, str) or not text:
        raise ConfigurationError(
            f"the text of {given!r} in log_actions must be a part of a line: empty, it is in every"
        )
    return pair
