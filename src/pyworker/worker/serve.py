"""Starting a worker and ending it well: sockets, TLS, signals, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp import web

from pyworker import logs
from pyworker.backend import Backend
from pyworker.connections import SlowStarters
from pyworker.errors import ConfigurationError
from pyworker.names import refuse_unknown
from pyworker.net import listen
from pyworker.settings import LogSettings, WorkerSettings, environment, unknown_variables
from pyworker.worker.failed_start import serving_began, tell_of_failed_start
from pyworker.worker.inbound.app import make_app
from pyworker.worker.inbound.fast_lane import FastLane
from pyworker.worker.inbound.methods import is_common
from pyworker.worker.inbound.server_protocol import ServerProtocol
from pyworker.worker.interception import replacement, served
from pyworker.worker.model.log_tail import machine_start_s
from pyworker.worker.model.session import make_session
from pyworker.worker.runtime import Runtime, with_authors_words

__all__ = ["EXIT_UPDATE", "RunningWorker", "running_worker", "serve", "start_server"]

log = logging.getLogger("pyworker.serve")

EXIT_UPDATE = 75  # the start script fetches the newest version and starts again
LAST_PORT = 65535
SHUTDOWN_TIMEOUT_S = 0.5  # for answers on their way; aiohttp grants it twice: to end, and to end once cancelled


class RunningWorker:
    """A worker that serves: its address, its parts, and what asks it to stop."""

    def __init__(
        self, backend: Backend, settings: WorkerSettings, session: aiohttp.ClientSession, *, log_since_s: float
    ) -> None:
        self.exit_status = 0
        self.stop = asyncio.Event()
        self.runtime = Runtime(backend, settings, session, log_since_s=log_since_s, update=self.update)
        self.url = settings.url
        self.port = settings.port

    def update(self) -> None:
        """Stop, with the status that the start script takes as "update"."""
        self.exit_status = EXIT_UPDATE
        self.stop.set()


def start_server(backend: Backend, routes: Iterable[web.AbstractRouteDef], **kwargs: Any) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        backend: the worker's Backend.
        routes: aiohttp routes, handlers made by ``backend.create_handler`` and the author's own.
        kwargs: ``host`` and ``port`` to listen on, ``env``, a mapping instead of the process's environment.

    Whoever has taken our place (``worker.interception``) gets all that instead, and nothing is served.

    Raises SystemExit with status 1 when the worker cannot start (the engine is told), EXIT_UPDATE after an update was
    asked for.
    """
    if (instead := replacement()) is not None:
        refuse_unknown("start_server", set(kwargs) - _KEYWORDS, _KEYWORDS)
        instead(backend, list(routes), kwargs)
        return
    env = _environment(kwargs)
    try:
        status = _run(_serve_until_signal(backend, list(routes), _settings(env, kwargs)))
    except Exception as error:  # noqa: BLE001 - whatever it is, log and engine are told
        tell_of_failed_start(env, error)
        raise SystemExit(1) from None
    if status:
        raise SystemExit(status)


async def serve(backend: Backend, routes: Iterable[web.AbstractRouteDef], **kwargs: Any) -> None:
    """The same inside a running event loop: until SIGTERM, SIGINT or cancelled, then it drains."""
    if (instead := replacement()) is not None:
        instead(backend, list(routes), kwargs)
        return
    env = _environment(kwargs)
    try:
        status = await _serve_until_signal(backend, list(routes), _settings(env, kwargs))
    except Exception as error:  # noqa: BLE001 - whatever it is, log and engine are told
        await asyncio.to_thread(tell_of_failed_start, env, error)
        raise SystemExit(1) from None
    if status:
        raise SystemExit(status)


def _environment(kwargs: Mapping[str, Any]) -> Mapping[str, str]:
    """Where the worker learns its place; the log is set up as it says."""
    serving_began.set()
    env: Mapping[str, str] = kwargs.get("env") or environment()
    logs.set_up(LogSettings.from_env(env))
    for problem in unknown_variables(env):
        log.warning("%s", problem)
    return env


def _settings(env: Mapping[str, str], kwargs: Mapping[str, Any]) -> WorkerSettings:
    refuse_unknown("start_server", set(kwargs) - _KEYWORDS, _KEYWORDS)
    given = {name: kwargs[name] for name in ("host", "port") if kwargs.get(name) is not None}
    return replace(WorkerSettings.from_env(env), **given)


_KEYWORDS = frozenset({"host", "port", "env"})


def _run(main: Any) -> int:
    """On uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def _spare_the_collector() -> None:
    """What is loaded stays: the garbage collector need not look at it again, nor at every few requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


async def _serve_until_signal(backend: Backend, routes: list[web.AbstractRouteDef], settings: WorkerSettings) -> int:
    cancelled = False
    with contextlib.ExitStack() as until_drained:
        async with running_worker(backend, routes, settings) as worker:
            _spare_the_collector()
            until_drained.enter_context(_signals(worker.stop.set))
            try:
                await worker.stop.wait()
            except asyncio.CancelledError:
                cancelled = True
            log.info("stopping: finishing what is in flight")
    if cancelled:
        raise asyncio.CancelledError
    return worker.exit_status


@contextlib.contextmanager
def _signals(stop: Callable[[], object]) -> Generator[None]:
    """While the block runs, SIGTERM and SIGINT call ``stop``; in another than the main thread there are none."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def running_worker(
    backend: Backend, routes: Iterable[web.AbstractRouteDef], settings: WorkerSettings
) -> AsyncGenerator[RunningWorker]:
    """A worker that serves while the block runs, and drains at its end. Raises ConfigurationError.

    Port 0 takes any free one; ``RunningWorker.url`` and ``.port`` say which.
    """
    serving_began.set()
    async with contextlib.AsyncExitStack() as opened:
        routes = list(routes)
        worker, fast_lane = await _open(opened, backend, routes, settings)
        worker.runtime.start()
        log.info("serving at %s (port %d)", worker.url, worker.port)
        served(backend, routes, worker.port)
        yield worker
        fast_lane.drain()
        await worker.runtime.drain(settings.drain_s)


async def _open(
    opened: contextlib.AsyncExitStack, backend: Backend, routes: list[web.AbstractRouteDef], settings: WorkerSettings
) -> tuple[RunningWorker, FastLane]:
    """Everything that serves, closed by ``opened`` in reverse order: first what listens, last what reports."""
    sock = listen(settings.host, settings.port)
    opened.callback(sock.close)
    settings = with_authors_words(replace(settings, port=sock.getsockname()[1]), backend)
    tls, starters = _tls(settings), SlowStarters()
    session = make_session(settings.model_server_url)
    opened.push_async_callback(session.close)
    worker = RunningWorker(backend, settings, session, log_since_s=await asyncio.to_thread(machine_start_s))
    runtime = worker.runtime
    opened.push_async_callback(runtime.stop)
    app = _app([*routes, *runtime.page_routes()], runtime, starters)
    await _serve_callbacks(opened, runtime)
    runner = await _runner(opened, app)
    fast_lane = FastLane(
        runtime.fast_routes(routes), runtime.proxy, runtime.refusals, _factory(runner, starters, routes)
    )
    opened.push_async_callback(fast_lane.close)
    server = await asyncio.get_running_loop().create_server(fast_lane.connection, sock=sock, ssl=tls)
    opened.callback(server.close)
    for watch in (starters.close_forever(), fast_lane.close_idle_forever()):
        opened.callback(asyncio.create_task(watch).cancel)
    return worker, fast_lane


def _app(routes: Iterable[web.AbstractRouteDef], runtime: Runtime, starters: SlowStarters) -> web.Application:
    return make_app(
        routes, max_body_bytes=runtime.settings.max_body_bytes, starters=starters, refusals=runtime.refusals
    )


async def _runner(opened: contextlib.AsyncExitStack, app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    opened.push_async_callback(runner.cleanup)
    await runner.setup()
    return runner


def _factory(runner: web.AppRunner, starters: SlowStarters, routes: list[web.AbstractRouteDef]) -> Any:
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None
    any_method = not all(is_common(route.method) for route in routes if isinstance(route, web.RouteDef))
    return lambda: starters.watched(ServerProtocol(server, loop, any_method=any_method))


async def _serve_callbacks(opened: contextlib.AsyncExitStack, runtime: Runtime) -> None:
    """The plain HTTP port on loopback; a worker can do without it."""
    settings = runtime.settings
    port = settings.port + 1 if settings.http_port is None else settings.http_port
    if port > LAST_PORT:
        log.warning(
            "no plain HTTP port for callbacks: none comes after WORKER_PORT; set WORKER_HTTP_PORT to a free one"
        )
        return
    try:
        sock = listen("127.0.0.1", port, "WORKER_HTTP_PORT")
    except ConfigurationError as error:
        log.warning("no plain HTTP port for callbacks: %s", error)
        return
    opened.callback(sock.close)
    app = _app(runtime.callback_routes(), runtime, SlowStarters())
    await web.SockSite(await _runner(opened, app), sock).start()


def _tls(settings: WorkerSettings) -> ssl.SSLContext | None:
    if not settings.use_ssl:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.ssl_cert, settings.ssl_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"USE_SSL is set, but {settings.ssl_cert} and {settings.ssl_key} are no certificate and key: {error}"
        ) from None
    return context
