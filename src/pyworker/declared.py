"""From a WorkerConfig to a Backend and its routes, and to a server: ``Worker(config).run()``."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from pyworker.api import EndpointHandler, LogAction
from pyworker.backend import Backend, Handler
from pyworker.benchmark_payloads import Dataset
from pyworker.config import DEFAULT_CONCURRENCY, BenchmarkConfig, HandlerConfig, LogActionConfig, WorkerConfig
from pyworker.config_rules import without_names
from pyworker.errors import ConfigurationError
from pyworker.handlers import DeclaredHandler, PassThroughHandler
from pyworker.model_address import model_address
from pyworker.names import nearest
from pyworker.worker import serve

__all__ = ["Worker"]

log = logging.getLogger("pyworker.config")


class Worker:
    """A worker made from its configuration.

    Attributes:
        config: what it was made from.
        backend: its Backend, with ``session``, ``metrics`` and ``backend_errored`` while it runs.
        routes: its aiohttp routes, a list; what is appended before it runs is served too.

    Raises ConfigurationError for what cannot work. Makes no connection and reads no file.
    """

    def __init__(self, config: WorkerConfig | None = None, **fields: Any) -> None:
        if fields:
            written = ", ".join(f"{name}=..." for name in fields)
            raise ConfigurationError(f"Worker takes a WorkerConfig: Worker(WorkerConfig({written}))")
        if not isinstance(config, WorkerConfig):
            raise ConfigurationError(f"Worker takes a WorkerConfig: Worker(WorkerConfig(...)), not {config!r}")
        self.config = config
        declared = _checked_handlers(config)
        handlers = [_handler(one) for one in declared]
        benchmarked = [handler for one, handler in zip(declared, handlers, strict=True) if one.benchmark_config]
        self.backend = _backend(config, benchmarked[0] if benchmarked else None)
        self.routes: list[web.AbstractRouteDef] = [
            route
            for one, handler in zip(declared, handlers, strict=True)
            for route in self.backend.routes_at(one.route or handler.endpoint, handler)
        ]

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Raises SystemExit with status 1 when the worker cannot start (the engine is told), 75 after an update was asked
        for.
        """
        serve.start_server(self.backend, self.routes)

    async def run_async(self) -> None:
        """The same inside a running event loop; cancelling it ends it as well.

        It returns when the worker has drained. What its author runs beside it he ends himself then: a ``gather`` with
        something that goes on keeps the process alive.
        """
        await serve.serve(self.backend, self.routes)


# --- what the handlers are, taken together ----------------------------------------------------------


def _checked_handlers(config: WorkerConfig) -> list[HandlerConfig]:
    """The handlers, with the worker's own benchmark given to the one it names."""
    config.check()
    handlers = list(config.handlers) or [HandlerConfig(route="/")]
    for handler in handlers:
        handler.check()
    _refuse_doubles(handlers)
    handlers = _with_benchmark_of(config, handlers)
    benchmarked = [str(handler.route) for handler in handlers if handler.benchmark_config]
    if len(benchmarked) > 1:
        raise ConfigurationError(
            f"WorkerConfig: {' and '.join(benchmarked)} both have a benchmark; a worker has one capacity, measured by "
            "one handler: leave the benchmark_config of the others out"
        )
    return handlers


def _refuse_doubles(handlers: Sequence[HandlerConfig]) -> None:
    """Two routes that differ only in the names of their places are the same."""
    served: set[tuple[str, str]] = set()
    doubled: list[str] = []
    for handler in handlers:
        for method in handler.methods if handler.route is not None else ():
            way = method.upper(), without_names(handler.route or "")
            if way in served:
                doubled.append(f"{method.upper()} {handler.route}")
            served.add(way)
    if doubled:
        raise ConfigurationError(f"WorkerConfig: more than one handler for {', '.join(doubled)}; the first would win")


def _with_benchmark_of(config: WorkerConfig, handlers: list[HandlerConfig]) -> list[HandlerConfig]:
    if not config.benchmark_data and config.benchmark_route is None:
        return handlers
    chosen = _benchmarked_by_route(config.benchmark_route, handlers)
    if chosen.benchmark_config is not None:
        if not config.benchmark_data:
            return handlers
        raise ConfigurationError(
            f"WorkerConfig: benchmark_data and the benchmark_config of {chosen.route} are both given; leave one out"
        )
    if not config.benchmark_data and not (chosen.payload_class or chosen.handler_class):
        raise ConfigurationError("WorkerConfig: benchmark_route has no payloads to send; give benchmark_data")
    benchmark = BenchmarkConfig(dataset=config.benchmark_data or None)
    return [replace(one, benchmark_config=benchmark) if one is chosen else one for one in handlers]


def _benchmarked_by_route(route: str | None, handlers: Sequence[HandlerConfig]) -> HandlerConfig:
    routes = [str(handler.route) for handler in handlers]
    if route is None:
        if len(handlers) == 1:
            return handlers[0]
        raise ConfigurationError(f"WorkerConfig: benchmark_data needs a benchmark_route, one of {', '.join(routes)}")
    for handler in handlers:
        if handler.route == route:
            return handler
    near = nearest(route, routes)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(routes)}"
    raise ConfigurationError(f"WorkerConfig: no handler has the benchmark_route {route!r}: {hint}")


# --- one handler ------------------------------------------------------------------------------------


def _handler(config: HandlerConfig) -> Handler:
    if config.websocket:
        return _websocket(config)
    return _declared(config) if config.handler_class is None else _authored(config, config.handler_class)


def _websocket(config: HandlerConfig) -> PassThroughHandler:
    return PassThroughHandler(
        endpoint=str(config.route),
        workload=config.workload,
        allow_parallel_requests=config.allow_parallel_requests,
        max_queue_time=config.max_queue_time,
        max_concurrency=config.max_concurrency,
        healthcheck_endpoint=config.healthcheck,
        websocket=True,
    )


def _declared(config: HandlerConfig) -> DeclaredHandler:
    benchmark = config.benchmark_config or BenchmarkConfig()
    calculator: Any = config.workload_calculator
    return DeclaredHandler(
        endpoint=str(config.route),
        workload_calculator=calculator,
        workload=config.workload,
        answer_workload=config.answer_workload,
        benchmark_payload=_payloads(config) if config.benchmark_config else None,
        benchmark_runs=benchmark.runs,
        concurrency=benchmark.concurrency or DEFAULT_CONCURRENCY,
        do_warmup_benchmark=benchmark.do_warmup,
        allow_parallel_requests=config.allow_parallel_requests,
        max_queue_time=config.max_queue_time,
        methods=tuple(method.upper() for method in config.methods),
        max_concurrency=config.max_concurrency,
        healthcheck_endpoint=config.healthcheck,
        request_parser=config.request_parser,
        payload_class=config.payload_class,
        response_generator=config.response_generator,
        remote_function=config.remote_function,
    )


def _payloads(config: HandlerConfig) -> Callable[[], Any] | None:
    """What makes the benchmark's payloads."""
    benchmark = config.benchmark_config
    if benchmark is None:
        return None
    if benchmark.dataset is not None:
        _warn_of_repeats(config, benchmark, len(benchmark.dataset))
        return Dataset(list(benchmark.dataset))
    return benchmark.generator or (config.payload_class.for_test if config.payload_class else None)


def _warn_of_repeats(config: HandlerConfig, benchmark: BenchmarkConfig, payloads: int) -> None:
    at_once = benchmark.concurrency or DEFAULT_CONCURRENCY
    if config.max_concurrency is not None or not config.allow_parallel_requests:
        at_once = min(at_once, config.max_concurrency or 1)
    requests = benchmark.runs * at_once + benchmark.do_warmup
    if payloads < requests:
        log.warning(
            "the benchmark of %s sends %d requests and has %d payloads for them: if the model keeps answers, it looks "
            "faster than it is; a generator can make each one different",
            config.route,
            requests,
            payloads,
        )


def _authored(config: HandlerConfig, handler_class: type[EndpointHandler[Any]]) -> EndpointHandler[Any]:
    """An object of the author's class; where class and configuration differ, what was written here counts."""
    for name in config.idle_fields():
        log.warning("HandlerConfig(%r): the handler_class does that itself; %s is not asked", config.route, name)
    made = _complete(config, handler_class)
    try:
        handler = made()
    except TypeError as error:
        raise ConfigurationError(
            f"HandlerConfig({config.route!r}): handler_class {handler_class.__name__} cannot be made without "
            f"arguments: {error}"
        ) from None
    if "allow_parallel_requests" in config.given or handler.allow_parallel_requests is None:
        handler.allow_parallel_requests = config.allow_parallel_requests
    if "max_queue_time" in config.given or handler.max_queue_time is None:
        handler.max_queue_time = config.max_queue_time
    if "methods" in config.given:
        handler.methods = tuple(method.upper() for method in config.methods)
    if config.max_concurrency is not None:
        handler.max_concurrency = config.max_concurrency
    if config.remote_function is not None:
        handler.remote_function = config.remote_function
    handler.is_remote_dispatch = handler.is_remote_dispatch or config.is_remote_dispatch
    _benchmark_as_declared(handler, config.benchmark_config)
    return handler


def _complete(config: HandlerConfig, handler_class: type[EndpointHandler[Any]]) -> type[EndpointHandler[Any]]:
    """The class, with what it leaves to the configuration: its route, its payload class, its health URL."""
    members: dict[str, Any] = {}
    if "endpoint" in handler_class.__abstractmethods__ and config.route is not None:
        members["endpoint"] = config.route
    if config.payload_class is not None:
        members["payload_cls"] = staticmethod(lambda: config.payload_class)
    if config.healthcheck is not None:
        members["healthcheck_endpoint"] = config.healthcheck
    if not members:
        return handler_class
    return type(handler_class.__name__, (handler_class,), {**members, "__module__": handler_class.__module__})


def _benchmark_as_declared(handler: EndpointHandler[Any], benchmark: BenchmarkConfig | None) -> None:
    if benchmark is None:
        return
    if "runs" in benchmark.given:
        handler.benchmark_runs = benchmark.runs
    if benchmark.concurrency is not None and "concurrency" in benchmark.given:
        handler.concurrency = benchmark.concurrency
    if "do_warmup" in benchmark.given:
        handler.do_warmup_benchmark = benchmark.do_warmup
    source = Dataset(list(benchmark.dataset)) if benchmark.dataset is not None else benchmark.generator
    if source is not None:
        if inspect.iscoroutinefunction(source):
            raise ConfigurationError("BenchmarkConfig: beside a handler_class the generator must not be async")
        read = handler.payload_cls().from_json_msg
        handler.make_benchmark_payload = lambda: read(source())


# --- the Backend ------------------------------------------------------------------------------------


def _backend(config: WorkerConfig, benchmark_handler: Handler | None) -> Backend:
    return Backend(
        model_server_url=model_address(config.model_server_url, config.model_server_port),
        model_log_file=None if config.model_log_file is None else str(config.model_log_file),
        benchmark_handler=benchmark_handler,
        log_actions=_log_actions(config.log_action_config or LogActionConfig()),
        healthcheck_url=config.model_healthcheck_url,
        max_sessions=config.max_sessions,
        lifecycle=config.lifecycle,
        fixed_throughput=config.fixed_throughput,
        readiness=config.readiness,
    )


def _log_actions(config: LogActionConfig) -> list[tuple[LogAction, str]]:
    """An error before an information: a line that says both is an error."""
    return [
        *((LogAction.ModelLoaded, text) for text in config.on_load),
        *((LogAction.ModelError, text) for text in config.on_error),
        *((LogAction.Info, text) for text in config.on_info),
    ]
