"""A running worker: every part made from a Backend and its settings, and started, drained and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, cast
from urllib.parse import urljoin

import aiohttp
from aiohttp import web
from aiohttp.hdrs import METH_ALL as METHODS

from pyworker.api import EndpointHandler
from pyworker.author_metrics import Metrics
from pyworker.backend import Backend, Handler, is_address
from pyworker.errors import ConfigurationError, NotReady
from pyworker.handlers import DeclaredHandler
from pyworker.intake import Intake
from pyworker.settings import WorkerSettings
from pyworker.version import __version__
from pyworker.worker.author_view import AuthorView
from pyworker.worker.authored import AuthoredRoute
from pyworker.worker.benchmark import Benchmark, ScoreStore
from pyworker.worker.books import Books
from pyworker.worker.core.gate import Gate, Mode
from pyworker.worker.core.ledger import Lane
from pyworker.worker.core.readiness import Event, Readiness
from pyworker.worker.core.sessions import Sessions
from pyworker.worker.declared_route import DeclaredRoute
from pyworker.worker.inbound.answers import RefusalLog
from pyworker.worker.inbound.entrance import Entrance
from pyworker.worker.inbound.fast_lane import FastRoutes
from pyworker.worker.inbound.incoming import AiohttpIncoming
from pyworker.worker.inbound.methods import is_common
from pyworker.worker.model.health import Health
from pyworker.worker.model.log_tail import LogTail
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.open_sessions import OpenSessions
from pyworker.worker.pass_through import PassThroughRoute
from pyworker.worker.proxy import Proxy
from pyworker.worker.reporting.engine_link import EngineLink
from pyworker.worker.reporting.inside import Inside
from pyworker.worker.reporting.reporter import Disk, Identity, Reporter
from pyworker.worker.routes import Route
from pyworker.worker.session_api import SessionApi
from pyworker.worker.warm_up import Lifecycle, WarmUp
from pyworker.worker.watchdog import Watchdog
from pyworker.worker.websocket import WebsocketRoute

__all__ = ["Runtime", "with_authors_words"]

log = logging.getLogger("pyworker.runtime")


class Runtime:
    """Made inside a running event loop; ``settings.port`` is the port it really has.

    ``settings`` come from ``with_authors_words``, ``session`` is the HTTP client to the model server.

    A model's log last written before ``log_since_s`` (epoch s) was left by an earlier run.
    """

    def __init__(
        self,
        backend: Backend,
        settings: WorkerSettings,
        session: aiohttp.ClientSession,
        *,
        log_since_s: float,
        update: Callable[[], None],
    ) -> None:
        self._backend = backend
        self.settings = settings
        self._started_s = time.time()
        self.books = Books()
        self.readiness = Readiness(time.monotonic(), has_lifecycle=backend.lifecycle is not None)
        self.gate = Gate(
            url=settings.url,
            unsecured=settings.unsecured,
            ticket_keys=settings.ticket_keys,
            started_s=self._started_s,
        )
        self.engine = EngineLink(settings.report_addrs, self.gate)
        self._model = ModelServer(settings.model_server_url)
        self._session = session
        self._serial = Lane("serial", 1)
        self._parallel = Lane("parallel", None)
        self._own_lanes: dict[int, Lane] = {}  # by the id of a handler, which may be at several routes
        self.routes = [self._route(mount.handler) for mount in backend.mounts]
        self.sessions = self._make_sessions()
        self._warm_up = self._make_warm_up(log_since_s)
        intake = Intake(max_body_bytes=settings.max_body_bytes, max_held_bytes=settings.max_unauthenticated_bytes)
        self.refusals = RefusalLog()
        self.entrance = Entrance(self.gate, intake, self.sessions, self.engine)
        self.proxy = Proxy(self.entrance, self.sessions, self.readiness, self.books, self._warm_up.model_unreachable)
        self._disk = Disk()
        self._reporter = self._make_reporter()
        self._watchdog = Watchdog(settings.report_addrs, self._reporter.repeat, interval_s=settings.report_interval_s)
        self._inside = self._make_inside(update)
        source = AuthorView(self.books, self.readiness, self._reporter, self._disk, self._started_s)
        self.metrics = Metrics(settings.worker_id, settings.url, source)
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering: set[asyncio.Task[Any]] = set()
        self._cutting_off = False

    # --- making the parts ---

    def _route(self, handler: Handler) -> Route:
        lane = self._lane(handler)
        max_wait_s = self._backend.max_wait_time if handler.max_queue_time is None else handler.max_queue_time
        if isinstance(handler, EndpointHandler):
            return AuthoredRoute(handler, lane, max_wait_s, self._model)
        if handler.websocket:
            limit = self.settings.max_body_bytes
            return WebsocketRoute(handler, lane, max_wait_s, self._model, self._session, limit)
        if isinstance(handler, DeclaredHandler):
            return DeclaredRoute(handler, lane, max_wait_s, self._model)
        return PassThroughRoute(handler, lane, max_wait_s, self._model)

    def _lane(self, handler: Handler) -> Lane:
        if handler.max_concurrency is not None:
            return self._own_lanes.setdefault(id(handler), Lane(handler.endpoint, handler.max_concurrency))
        parallel = handler.allow_parallel_requests
        if parallel is None:
            parallel = self._backend.allow_parallel_requests
        return self._parallel if parallel else self._serial

    def _make_sessions(self) -> OpenSessions:
        sessions = Sessions(max_sessions=self._backend.max_sessions, max_lifetime_s=self.settings.max_session_s)
        close_routes = frozenset([*(route.endpoint for route in self.routes), *self._backend.close_routes])
        return OpenSessions(sessions, self._model, self.books, close_routes)

    def _make_reporter(self) -> Reporter:
        settings = self.settings
        version = self._backend.version or f"pyworker-{__version__}"
        return Reporter(
            Identity(settings.worker_id, settings.mtoken, settings.url, version),
            self.books,
            self.sessions.sessions,
            self.readiness,
            self.engine,
            self._disk,
            interval_s=settings.report_interval_s,
            every_second=self.gate.mode is Mode.TICKET,
        )

    def _make_inside(self, update: Callable[[], None]) -> Inside:
        return Inside(
            mtoken=self.settings.mtoken,
            readiness=self.readiness,
            books=self.books,
            sessions=self.sessions.sessions,
            gate=self.gate,
            engine=self.engine,
            warm_up=self._warm_up,
            watchdog=self._watchdog,
            routes=self.routes,
            update=update,
        )

    def _make_warm_up(self, log_since_s: float) -> WarmUp:
        backend, settings = self._backend, self.settings
        log_path = settings.model_log if backend.readiness != "health" else ""
        tail = LogTail(log_path, since_s=log_since_s) if log_path else None
        health_url = _health_url(backend, settings)
        needs_no_model = backend.is_remote_only and not backend.model_server_url
        model = None if backend.lifecycle is not None or needs_no_model else self._model
        if backend.fixed_throughput is not None:
            self.books.set_capacity(backend.fixed_throughput)
        return WarmUp(
            self.readiness,
            self.books,
            Health(health_url, model, self._session),
            tail=tail,
            log_actions=backend.log_actions,
            benchmark=self._make_benchmark(),
            lifecycle=_lifecycle(backend.lifecycle),
            on_change=self._state_changed,
        )

    def _make_benchmark(self) -> Benchmark | None:
        handler = self._backend.benchmark_handler
        if handler is None or self._backend.fixed_throughput is not None:
            if handler is None and self._backend.fixed_throughput is None:
                log.warning("no benchmark_handler: the capacity is learned from the requests served")
            return None
        route = self._route(handler)
        if route.plan is None:
            return None
        store = ScoreStore(self.settings.state_dir / "scores")
        return Benchmark(route, route.plan, store, self.settings.model_server_url)

    # --- running ---

    def page_routes(self) -> list[web.RouteDef]:
        """Our own pages: sessions and /pyworker/."""
        return [*SessionApi(self.entrance, self.readiness).pages(), *self._inside.pages()]

    def callback_routes(self) -> list[web.RouteDef]:
        """What the plain HTTP port on loopback serves."""
        return [web.post("/session/end", SessionApi(self.entrance, self.readiness).end), *self._inside.pages()]

    def start(self) -> None:
        """Answer requests, follow the model, report."""
        for mount, route in zip(self._backend.mounts, self.routes, strict=True):
            mount.answer = partial(self._answer, route)
        self._backend.running = self
        work: list[Coroutine[None, None, None]] = [
            self._warm_up.run(),
            self._watchdog.run(),
            self._disk.watch(),
            self.sessions.expire_forever(),
        ]
        if self.settings.report_addrs:
            work.append(self._reporter.run())
        else:
            log.warning("REPORT_ADDR is not set: this worker reports to nobody")
        if self.gate.mode is Mode.SIGNATURE and self.settings.report_addrs:
            work.append(self.engine.keep_key())
        elif self.gate.mode is Mode.SIGNATURE:
            log.error(
                "nobody can be let in: set REPORT_ADDR to the engine that signs requests, or UNSECURED=true to serve "
                "anybody, on a laptop say"
            )
        if self.gate.mode is Mode.OFF:
            log.warning("UNSECURED is set: anybody who reaches this worker is served")
        for coroutine in work:
            task = asyncio.create_task(coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._task_ended)

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        incoming, task = AiohttpIncoming(request, keeps_body=route.shows_request), asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            await self.proxy.handle(incoming, route)
        except asyncio.CancelledError:
            if not self._cutting_off or incoming.client_gone:
                raise
            incoming.cut_off()
            task.uncancel()
            raise NotReady("the worker is stopping") from None
        finally:
            self._answering.discard(task)
        assert incoming.response is not None
        return incoming.response

    def fast_routes(self, routes: Iterable[web.AbstractRouteDef]) -> FastRoutes:
        """The author's routes that only pass through, for the fast lane. Of two for one path the first counts."""
        by_mount: dict[object, Route] = dict(zip(self._backend.mounts, self.routes, strict=True))
        first: dict[tuple[bytes, bytes], Route | None] = {}
        for definition in routes:
            if isinstance(definition, web.RouteDef) and "{" not in definition.path:
                methods = METHODS if definition.method == "*" else [definition.method]
                route = by_mount.get(getattr(definition.handler, "__self__", None))
                for method in filter(is_common, methods):
                    first.setdefault((method.encode(), definition.path.encode()), route)
        return {
            key: route
            for key, route in first.items()
            if isinstance(route, PassThroughRoute) and not route.shows_request
        }

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.critical("a part of the worker failed: %r", task.exception(), exc_info=task.exception())
            self.backend_errored(f"a part of the worker failed: {task.exception()!r}")

    def _state_changed(self) -> None:
        self._reporter.urgent()

    async def drain(self, limit_s: float) -> None:
        """Take nothing new; wait for requests and sessions, up to the limit; tell the engine."""
        self._warm_up.event(Event.DRAIN)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while self.books.ledger.in_flight_count or len(self.sessions.sessions):
                    await self.books.settled_or(0.25)
        left = self.books.ledger.in_flight_count
        if left:
            log.warning("%d requests did not finish within %g s and are cut off", left, limit_s)
            self._cut_off()
        self.books.stopping = True
        await self.sessions.close()

    def _cut_off(self) -> None:
        """End what aiohttp serves of ours: 503 where no answer has begun. The fast lane ends its own."""
        self._cutting_off = True
        for task in self._answering:
            task.cancel()

    async def stop(self) -> None:
        """After the server has stopped: the last report, if there was a first, then close()."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            await self._last_report()
        await self._close()

    async def _last_report(self) -> None:
        if self.settings.report_addrs:
            await self._reporter.send_finished()
            await self._reporter.send_report()

    async def _close(self) -> None:
        self._backend.running = None
        for mount in self._backend.mounts:
            mount.answer = None
        self._model.close()
        self.refusals.close()
        await self.engine.close()

    # --- what authors see ---

    @property
    def session(self) -> aiohttp.ClientSession:
        """The HTTP client to the model server."""
        return self._session

    def backend_errored(self, msg: str) -> None:
        """The author says that the model has failed."""
        self._warm_up.event(Event.ERROR, error=msg)


def with_authors_words(settings: WorkerSettings, backend: Backend) -> WorkerSettings:
    """What the author gave to the Backend goes before the environment.

    Raises ConfigurationError when neither says what there must be.
    """
    url = backend.model_server_url or settings.model_server_url.rstrip("/")
    log_path = backend.model_log_file or settings.model_log
    if not url and not backend.is_remote_only:
        raise ConfigurationError(
            "no model server: give a model_server_url to WorkerConfig or Backend, or set MODEL_SERVER_URL"
        )
    if url and not is_address(url):
        raise ConfigurationError(f"MODEL_SERVER_URL is {url!r}; give an address like http://127.0.0.1:5001")
    if backend.readiness == "log" and not log_path:
        raise ConfigurationError(
            'Backend(readiness="log") needs the model\'s log: give model_log_file, or set MODEL_LOG'
        )
    words: dict[str, Any] = {"model_server_url": url, "model_log": str(log_path)}
    if backend.unsecured is not None:
        words["unsecured"] = backend.unsecured
    if backend.mtoken is not None:
        words["mtoken"] = backend.mtoken
    if backend.report_addr is not None:
        parts = (part.strip().rstrip("/") for part in backend.report_addr.split(","))
        words["report_addrs"] = tuple(part for part in parts if part)
    return replace(settings, **words)


def _lifecycle(given: Any) -> Lifecycle | None:
    """A context manager, or what makes one: those of ``@asynccontextmanager`` can be called as well, to decorate."""
    if given is None:
        return None
    made = given if hasattr(cast("type[Any]", type(given)), "__aenter__") else given()
    if not hasattr(cast("type[Any]", type(made)), "__aenter__"):
        raise ConfigurationError(f"the lifecycle gave {made!r}; it must give an async context manager")
    return cast("Lifecycle", made)


def _health_url(backend: Backend, settings: WorkerSettings) -> str | None:
    """The Backend's, the benchmark handler's, the first handler's that has one, or the environment's."""
    handlers = [backend.benchmark_handler, *(mount.handler for mount in backend.mounts)]
    named = [handler.healthcheck_endpoint for handler in handlers if handler is not None]
    candidates = [backend.healthcheck_url, *named, settings.model_health_url]
    url = next((candidate for candidate in candidates if candidate), None)
    if url is None:
        return None
    return url if url.startswith(("http://", "https://")) else urljoin(settings.model_server_url + "/", url.lstrip("/"))
