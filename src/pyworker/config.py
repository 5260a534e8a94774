"""The declarative style: a worker described as data. ``pyworker.Worker`` runs what is described here.

Everything is checked when it is made, before anything starts: an object that exists can be used.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

from aiohttp import ClientResponse, web

from pyworker import config_rules as rules
from pyworker.api import ApiPayload, EndpointHandler
from pyworker.handlers import DEFAULT_WORKLOAD
from pyworker.model_address import address_problems
from pyworker.wire import dump

__all__ = ["DEFAULT_CONCURRENCY", "BenchmarkConfig", "HandlerConfig", "LogActionConfig", "Payload", "WorkerConfig"]

Payload = dict[str, Any]
DEFAULT_CONCURRENCY = 10
_ANSWER = "the answer: a web.StreamResponse, prepared and written, when it is a stream"
_ABOUT_PAYLOADS = (
    "workload_calculator",
    "request_parser",
    "response_generator",
    "benchmark_config",
    "answer_workload",
    "payload_class",
    "handler_class",
    "remote_function",
)


class _Checked:
    """Checks itself when it is made. ``given`` names the keywords that its author wrote."""

    given: ClassVar[frozenset[str]] = frozenset()  # of each object its own: see keywords_checked

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises ConfigurationError naming every field that is wrong, and what it takes."""
        rules.refuse(self._name(), self._problems())

    def _name(self) -> str:
        return type(self).__name__

    def _problems(self) -> Iterator[str]:
        raise NotImplementedError


@rules.keywords_checked
@dataclass
class LogActionConfig(_Checked):
    """What lines of the model's log mean that contain one of these texts.

    Attributes:
        on_load: the model has loaded.
        on_error: the model has failed; the engine is told, and requests get 503 until it is well again.
        on_info: worth a line in the worker's log.
    """

    on_load: Sequence[str] = field(default_factory=list[str])
    on_error: Sequence[str] = field(default_factory=list[str])
    on_info: Sequence[str] = field(default_factory=list[str])

    def _problems(self) -> Iterator[str]:
        yield from rules.texts("on_load", self.on_load, "Application startup complete.")
        yield from rules.texts("on_error", self.on_error, "out of memory")
        yield from rules.texts("on_info", self.on_info, "Downloading")


@rules.keywords_checked
@dataclass
class BenchmarkConfig(_Checked):
    """How the worker's capacity is measured: ``runs`` rounds of ``concurrency`` requests at once; the best one counts.

    Attributes:
        dataset: payloads as the model gets them, taken in turn. The more they differ, the less a model's cache hides.
        generator: makes a payload for each request, instead of a dataset; may be async.
        runs: rounds.
        concurrency: requests at once in a round (1 when the handler is serial). None: 10.
        do_warmup: one unmeasured request first.
    """

    dataset: Sequence[Payload] | None = field(default=None, repr=False)
    generator: Callable[[], Payload | Awaitable[Payload]] | None = None
    runs: int = 8
    concurrency: int | None = DEFAULT_CONCURRENCY
    do_warmup: bool = True

    def _problems(self) -> Iterator[str]:
        if self.dataset is not None:
            yield from _dataset_problems("dataset", self.dataset)
        if self.dataset is not None and self.generator is not None:
            yield "dataset and generator are both given; the payloads come from one of them"
        yield from rules.a_function("generator", self.generator, (), returns="a payload, and is called for each")
        yield from rules.a_number("runs", self.runs, least=1, whole=True)
        yield from rules.a_number("concurrency", self.concurrency, least=1, whole=True, none="for 10")
        yield from rules.a_flag("do_warmup", self.do_warmup)


@rules.keywords_checked
@dataclass
class HandlerConfig(_Checked):
    """One route of the worker, and what happens to its requests. Without functions they pass through as bytes.

    Attributes:
        route: the path on the worker and on the model server; ``{name}`` in it is a place. With a ``handler_class``
            it may be left out: then it is the class's ``endpoint``.
        allow_parallel_requests: False: all serial handlers of the worker together have one request at the model.
        max_queue_time: s; a longer expected wait is answered 429. None: no limit.
        workload_calculator: the workload of a payload, as the parser left it. Without one it is the payload class's
            ``count_workload``, or 100. May be async.
        request_parser: makes of a client's payload the one that the model gets. ValueError and JsonDataException say
            that the client's is bad (422). May be async.
        response_generator: makes the answer to the client from ``(web.Request, ClientResponse)``; async. Without one
            the model's passes through.
        benchmark_config: this handler's requests measure the worker's capacity.
        payload_class: an ApiPayload that checks payloads and says what the model gets: JSON, or a form.
        handler_class: an EndpointHandler that does all of that itself.
        healthcheck: the model's health URL, path or absolute, unless the worker has a ``model_healthcheck_url``.
        is_remote_dispatch: a function is called instead of a model server; a ``remote_function`` says so by itself.
        remote_function: called as ``f(**payload)``, async; the client gets ``{"result": value}``.
        methods: HTTP methods.
        max_concurrency: requests at once when neither one (serial) nor any number (parallel).
        websocket: the route is a websocket, opened by GET; each open one is a request in flight.
        workload: of a request that nothing counts: no calculator, or no JSON to count (a GET, a form, a file).
        answer_workload: what a request was after all, from the last bytes of its answer (64 KiB at most), or None when
            they do not say; not async. Load, capacity and the benchmark go by it; see PassThroughHandler.
    """

    route: str | None = None
    allow_parallel_requests: bool = False
    max_queue_time: float | None = 30.0
    workload_calculator: Callable[[Payload], float | Awaitable[float]] | None = None
    request_parser: Callable[[Payload], Payload | Awaitable[Payload]] | None = None
    response_generator: Callable[[web.Request, ClientResponse], Awaitable[web.StreamResponse]] | None = None
    benchmark_config: BenchmarkConfig | None = None
    payload_class: type[ApiPayload] | None = None
    handler_class: type[EndpointHandler[Any]] | None = None
    healthcheck: str | None = None
    is_remote_dispatch: bool = False
    remote_function: Callable[..., Awaitable[Any]] | None = None
    methods: Sequence[str] = ("POST",)
    max_concurrency: int | None = None
    websocket: bool = False
    workload: float = DEFAULT_WORKLOAD
    answer_workload: Callable[[bytes], float | None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.websocket:
            self.methods = ("GET",)

    def _name(self) -> str:
        route: object = self.route
        return f"HandlerConfig({route!r})" if isinstance(route, str) else "HandlerConfig"

    def _problems(self) -> Iterator[str]:
        if self.route is not None or self.handler_class is None:
            yield from rules.a_route("route", self.route)
        yield from rules.a_flag("allow_parallel_requests", self.allow_parallel_requests)
        yield from rules.a_number("max_queue_time", self.max_queue_time, none="for no limit")
        yield from rules.a_number("max_concurrency", self.max_concurrency, least=1, none="for one or any", whole=True)
        yield from rules.a_text("healthcheck", self.healthcheck, "/health")
        yield from rules.a_flag("websocket", self.websocket)
        yield from rules.a_number("workload", self.workload)
        yield from _method_problems(self.methods)
        yield from self._websocket_problems()
        yield from self._function_problems()
        yield from self._benchmark_problems()

    def _websocket_problems(self) -> Iterator[str]:
        if self.websocket is not True:
            return
        for name in _ABOUT_PAYLOADS:
            if getattr(self, name) is not None:
                yield f"a websocket has no payload for {name}: leave it out (each open one counts workload)"
        if _are_methods(self.methods) and {method.upper() for method in self.methods} - {"POST", "GET"}:
            yield "a websocket is opened by GET; leave methods out"

    def _function_problems(self) -> Iterator[str]:
        payload, both = ("the payload",), ("the web.Request", "the ClientResponse")
        yield from rules.a_function("workload_calculator", self.workload_calculator, payload)
        yield from rules.a_function("answer_workload", self.answer_workload, ("the end of the answer",))
        if inspect.iscoroutinefunction(self.answer_workload):
            yield f"answer_workload is async; write `def {self.answer_workload.__name__}`"
        yield from rules.a_function("request_parser", self.request_parser, payload)
        yield from rules.a_function(
            "response_generator", self.response_generator, both, only_async=True, returns=_ANSWER
        )
        yield from rules.a_function("remote_function", self.remote_function, None, only_async=True)
        yield from rules.a_class("payload_class", self.payload_class, ApiPayload)
        yield from rules.a_class("handler_class", self.handler_class, EndpointHandler)
        yield from rules.a_flag("is_remote_dispatch", self.is_remote_dispatch)
        if self.is_remote_dispatch is True and self.remote_function is None and self.handler_class is None:
            yield "is_remote_dispatch needs the function to call: give remote_function"
        if self.remote_function is not None and self.response_generator is not None:
            yield "remote_function answers the client itself; a response_generator has no model's answer to work on"
        if self.answer_workload is not None and (self.response_generator or self.remote_function):
            yield "answer_workload reads answers that pass through; a response_generator's and a function's do not"

    def idle_fields(self) -> list[str]:
        """What is given and not asked, since the ``handler_class`` does it itself."""
        beside = ("workload_calculator", "request_parser", "response_generator", "answer_workload")
        return [] if self.handler_class is None else [name for name in beside if getattr(self, name) is not None]

    def _benchmark_problems(self) -> Iterator[str]:
        problems = list(rules.an_object("benchmark_config", self.benchmark_config, BenchmarkConfig))
        yield from problems
        benchmark = self.benchmark_config
        if benchmark is None or problems:
            return
        has_payloads = benchmark.dataset is not None or benchmark.generator is not None
        if not (has_payloads or self.payload_class or self.handler_class):
            yield "its benchmark_config has no payloads: give a dataset or a generator (or a payload_class: for_test)"
        if isinstance(self.route, str) and "{" in self.route:
            yield "a route with places cannot be benchmarked; give the benchmark_config to another handler"
        if not _has_post(self.methods):
            yield f"the benchmark sends POST, and methods is {self.methods!r}; add it, or benchmark another handler"


@rules.keywords_checked
@dataclass
class WorkerConfig(_Checked):
    """A worker: its model server, and its handlers.

    Attributes:
        model_server_url: ``http[s]://host[:port][/path]``; without a scheme it is http. None: MODEL_SERVER_URL says.
        model_server_port: the port, when the URL has none. Alone it is one on this machine.
        model_log_file: the model server's log. None: MODEL_LOG says.
        handlers: one for each route; none at all: one for ``/``.
        model_healthcheck_url: path or absolute URL.
        log_action_config: what lines of the log mean.
        max_sessions: open sessions at once; None or 0: no limit.
        lifecycle: an async context manager, or what makes one: the worker is ready once it is entered.
        benchmark_data: payloads for the benchmark, instead of a handler's ``benchmark_config`` (8 rounds of 10).
        benchmark_route: the route of the handler that they go to; needed when there are several.
        fixed_throughput: the capacity in workload/s; no benchmark is run.
        readiness: "log" or "health"; by default "log" when there is a log and an ``on_load`` text.
    """

    model_server_url: str | None = None
    model_server_port: int | str | None = None
    model_log_file: str | None = None
    handlers: Sequence[HandlerConfig] = field(default_factory=list[HandlerConfig])
    model_healthcheck_url: str | None = None
    log_action_config: LogActionConfig | None = None
    max_sessions: int | None = 10
    lifecycle: AbstractAsyncContextManager[Any] | Callable[[], AbstractAsyncContextManager[Any]] | None = None
    benchmark_data: Sequence[Payload] | None = field(default=None, repr=False)
    benchmark_route: str | None = None
    fixed_throughput: float | None = None
    readiness: Literal["log", "health"] | None = None

    def _problems(self) -> Iterator[str]:
        yield from address_problems(self.model_server_url, self.model_server_port)
        yield from _path_problems(self.model_log_file)
        yield from rules.a_text("model_healthcheck_url", self.model_healthcheck_url, "/health")
        yield from rules.a_number("max_sessions", self.max_sessions, none="for no limit", whole=True)
        yield from rules.a_lifecycle("lifecycle", self.lifecycle)
        yield from _handler_problems(self.handlers)
        yield from rules.an_object("log_action_config", self.log_action_config, LogActionConfig)
        if self.benchmark_data:  # an empty list is none
            yield from _dataset_problems("benchmark_data", self.benchmark_data)
        if self.benchmark_route is not None:
            yield from rules.a_route("benchmark_route", self.benchmark_route)
        if self.fixed_throughput is not None:
            yield from rules.a_number("fixed_throughput", self.fixed_throughput, none="to measure it", above=True)
        if self.readiness not in {"log", "health", None}:
            yield f'readiness is {self.readiness!r}; it takes "log" or "health"'


def _dataset_problems(name: str, dataset: object) -> Iterator[str]:
    """Payloads are not shown: they may be people's prompts."""
    if isinstance(dataset, dict):
        yield f"{name} is one payload; it takes a list of them: [{{...}}]"
    elif isinstance(dataset, str) or not isinstance(dataset, Sequence):
        yield f"{name} is a {type(dataset).__name__}; it takes a list of payloads"
    elif not dataset:
        yield f"{name} is empty; it needs at least one payload"
    else:
        for number, payload in enumerate(cast("Sequence[object]", dataset)):
            if not isinstance(payload, dict):
                yield f"{name}[{number}] is a {type(payload).__name__}; a payload is a dict"
            elif not _is_json(cast("object", payload)):
                yield f"{name}[{number}] is no JSON: it holds what JSON has not (an object, bytes, a set)"


def _is_json(payload: object) -> bool:
    try:
        dump(payload)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _are_methods(methods: object) -> bool:
    return not list(_method_problems(methods))


def _method_problems(methods: object) -> Iterator[str]:
    yield from rules.texts("methods", methods, "POST")
    if not methods:
        yield "methods is empty; it takes a list like ['POST']"
    elif isinstance(methods, Sequence) and not isinstance(methods, str):
        for method in cast("Sequence[object]", methods):
            if isinstance(method, str) and not (method.isascii() and method.replace("-", "").isalpha()):
                yield f"methods holds {method!r}, which is no method of HTTP"


def _has_post(methods: object) -> bool:
    return isinstance(methods, Sequence) and any(
        str(one).upper() == "POST" for one in cast("Sequence[object]", methods)
    )


def _path_problems(path: object) -> Iterator[str]:
    if path is not None and not (hasattr(path, "__fspath__") or isinstance(path, str)):
        yield f"model_log_file is {path!r}; it takes a path like '/var/log/model.log'"


def _handler_problems(handlers: object) -> Iterator[str]:
    if isinstance(handlers, HandlerConfig):
        yield "handlers is a HandlerConfig; it takes a list of them: [HandlerConfig(...)]"
    elif not isinstance(handlers, Sequence) or isinstance(handlers, str):
        yield f"handlers is {handlers!r}; it takes a list of HandlerConfig"
    else:
        for one in cast("Sequence[object]", handlers):
            if not isinstance(one, HandlerConfig):
                yield f"handlers holds {one!r}; each of them must be a HandlerConfig"
