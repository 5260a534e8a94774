"""The declarative style's configuration: what it takes, what it is by default, and what it says of mistakes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from aiohttp import ClientResponse, web

from pyworker import (
    ApiPayload,
    Backend,
    BenchmarkConfig,
    ConfigurationError,
    EndpointHandler,
    HandlerConfig,
    LogAction,
    LogActionConfig,
    Worker,
    WorkerConfig,
)
from pyworker.handlers import DeclaredHandler
from pyworker.model_address import model_address
from tests.support.workers.handlers import Generate, Prompt

Make = Callable[[], object]
BENCHMARK = BenchmarkConfig(dataset=[{"a": 1}])


def fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def only(worker: Worker) -> Any:
    """The handler of a worker with one."""
    (mount,) = worker.backend.mounts
    return mount.handler


# --- defaults -------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract() -> None:
    assert fields(WorkerConfig()) == {
        "model_server_url": None,
        "model_server_port": None,
        "model_log_file": None,
        "handlers": [],
        "model_healthcheck_url": None,
        "log_action_config": None,
        "max_sessions": 10,
        "lifecycle": None,
        "benchmark_data": None,
        "benchmark_route": None,
        "fixed_throughput": None,
        "readiness": None,
    }
    assert fields(HandlerConfig(route="/g")) == {
        "route": "/g",
        "allow_parallel_requests": False,
        "max_queue_time": 30.0,
        "workload_calculator": None,
        "request_parser": None,
        "response_generator": None,
        "benchmark_config": None,
        "payload_class": None,
        "handler_class": None,
        "healthcheck": None,
        "is_remote_dispatch": False,
        "remote_function": None,
        "methods": ("POST",),
        "max_concurrency": None,
        "websocket": False,
        "workload": 100.0,
        "answer_workload": None,
    }
    assert fields(BenchmarkConfig()) == {
        "dataset": None,
        "generator": None,
        "runs": 8,
        "concurrency": 10,
        "do_warmup": True,
    }
    assert fields(LogActionConfig()) == {"on_load": [], "on_error": [], "on_info": []}


def test_lists_are_not_shared_between_configurations() -> None:
    cast("list[str]", LogActionConfig().on_load).append("x")
    assert LogActionConfig().on_load == []


def test_what_its_author_wrote_is_remembered() -> None:
    assert HandlerConfig("/g", max_queue_time=None).given == {"route", "max_queue_time"}
    assert dataclasses.replace(HandlerConfig("/g"), max_queue_time=5.0).max_queue_time == 5.0


# --- mistakes -------------------------------------------------------------------------------------


async def generate(request: web.Request, response: ClientResponse) -> web.Response:
    return web.Response(text=f"{request}{response}")


def sync_generate(request: web.Request, response: ClientResponse) -> web.Response:
    return web.Response(text=f"{request}{response}")


async def remote(a: int) -> int:
    return a


def unchecked(cls: Any) -> Any:
    """Without the types, as authors without a type checker write."""
    return cls


handler = unchecked(HandlerConfig)
worker = unchecked(WorkerConfig)
benchmark = unchecked(BenchmarkConfig)
actions = unchecked(LogActionConfig)


async def undecorated() -> AsyncIterator[None]:
    yield


async def no_yield() -> None:
    """What an author writes who takes it for a hook."""


def sync_generator() -> Iterator[dict[str, Any]]:
    yield {}


async def pieces(_request: web.Request, _model: ClientResponse) -> AsyncIterator[bytes]:
    yield b""


MISTAKES: list[tuple[Make, str]] = [
    # keywords
    (lambda: handler(rout="/g"), "HandlerConfig has no keyword 'rout': did you mean 'route'?"),
    (lambda: handler("/g", workload_calculater=1), "did you mean 'workload_calculator'?"),
    (lambda: worker(handler=[]), "WorkerConfig has no keyword 'handler': did you mean 'handlers'?"),
    (lambda: worker(model_url="x"), "did you mean 'model_server_url'?"),
    (lambda: benchmark(datasets=[]), "BenchmarkConfig has no keyword 'datasets': did you mean 'dataset'?"),
    (lambda: actions(on_loaded=[]), "LogActionConfig has no keyword 'on_loaded': did you mean 'on_load'?"),
    # routes
    (handler, "route is None; it takes a path"),
    (lambda: handler("generate"), "did you mean '/generate'?"),
    (lambda: handler("http://host/v1/x"), "did you mean '/v1/x'?"),
    (lambda: handler("/g?x=1"), "no '?'"),
    (lambda: handler("/a b"), "no spaces"),
    (lambda: handler("/pyworker/health"), "the worker's own"),
    (lambda: handler(5), "route is 5; it takes a path"),
    # functions
    (lambda: handler("/g", workload_calculator=5), "workload_calculator is 5; it takes a function of the payload"),
    (lambda: handler("/g", workload_calculator=lambda: 1.0), "workload_calculator is <lambda>(); it is called with"),
    (lambda: handler("/g", request_parser="parse"), "request_parser is 'parse'; it takes a function"),
    (lambda: handler("/g", request_parser=dict.get), "it is called with the payload"),
    (lambda: handler("/g", response_generator=sync_generate), "is sync_generate, which is not async"),
    (lambda: handler("/g", response_generator=functools.partial(sync_generate)), "which is not async"),
    (lambda: handler("/g", response_generator=remote), "called with the web.Request and the ClientResponse"),
    (lambda: handler("/g", remote_function=remote, response_generator=generate), "answers the client itself"),
    (lambda: handler("/g", remote_function=sync_generate), "remote_function is sync_generate, which is not async"),
    (lambda: handler("/g", is_remote_dispatch=True), "give remote_function"),
    (lambda: handler("/g", payload_class=Prompt("x")), "payload_class is an object; give its class"),
    (lambda: handler("/g", payload_class=dict), "a class derived from ApiPayload"),
    (lambda: handler("/g", handler_class=Generate()), "give its class: handler_class=Generate"),
    (lambda: handler("/g", handler_class=Prompt), "a class derived from EndpointHandler"),
    # numbers and flags
    (lambda: handler("/g", max_queue_time=-1), "max_queue_time is -1; it takes a number from 0 up"),
    (lambda: handler("/g", max_queue_time=float("nan")), "max_queue_time is nan"),
    (lambda: handler("/g", max_queue_time="30"), "max_queue_time is '30'"),
    (lambda: handler("/g", allow_parallel_requests="false"), "it takes True or False"),
    (lambda: handler("/g", max_concurrency=0), "max_concurrency is 0; it takes a whole number from 1 up"),
    (lambda: handler("/g", max_concurrency=True), "max_concurrency is True"),
    (lambda: handler("/g", methods="POST"), "methods is the text 'POST'; it takes a list: ['POST']"),
    (lambda: handler("/g", methods=[]), "methods is empty"),
    (lambda: handler("/g", methods=["PO ST"]), "no method of HTTP"),
    (lambda: handler("/g", healthcheck=5), "healthcheck is 5"),
    # the benchmark
    (lambda: handler("/g", benchmark_config=[{"a": 1}]), "it takes a BenchmarkConfig"),
    (lambda: handler("/g", benchmark_config=BenchmarkConfig()), "give a dataset or a generator"),
    (lambda: handler("/m/{name}", benchmark_config=BENCHMARK), "a route with places cannot be benchmarked"),
    (lambda: handler("/g", methods=["GET"], benchmark_config=BENCHMARK), "the benchmark sends POST"),
    (lambda: benchmark(dataset=[]), "dataset is empty"),
    (lambda: benchmark(dataset={"a": 1}), "dataset is one payload; it takes a list of them"),
    (lambda: benchmark(dataset=[{}, "x"]), "dataset[1] is a str; a payload is a dict"),
    (lambda: benchmark(dataset="x"), "dataset is a str"),
    (lambda: benchmark(generator={"a": 1}), "it takes a function of no arguments"),
    (lambda: benchmark(generator=lambda x: x), "it is called with no arguments"),
    (lambda: benchmark(dataset=[{}], generator=dict), "both given"),
    (lambda: benchmark(runs=0), "runs is 0; it takes a whole number from 1 up"),
    (lambda: benchmark(concurrency=-1), "concurrency is -1"),
    (lambda: benchmark(runs=1.5), "runs is 1.5"),
    (lambda: benchmark(do_warmup="no"), "do_warmup is 'no'"),
    # the log
    (lambda: actions(on_load="started"), "on_load is the text 'started'; it takes a list: ['started']"),
    (lambda: actions(on_error=[""]), "on_error holds ''"),
    (lambda: actions(on_info=5), "on_info is 5"),
    (lambda: actions(on_info=[5]), "on_info holds 5"),
    # the worker
    (lambda: worker(handlers=HandlerConfig("/g")), "it takes a list of them"),
    (lambda: worker(handlers=["/g"]), "handlers holds '/g'; each of them must be a HandlerConfig"),
    (lambda: worker(handlers=None), "handlers is None"),
    (lambda: worker(log_action_config={"on_load": []}), "it takes a LogActionConfig"),
    (lambda: worker(model_server_url=5), "model_server_url is 5"),
    (lambda: worker(model_server_url="ftp://x"), "model_server_url is 'ftp://x'"),
    (lambda: worker(model_server_url="http://h:1", model_server_port=2), "names port 1, and model_server_port 2"),
    (lambda: worker(model_server_port="eighty"), "model_server_port is 'eighty'"),
    (lambda: worker(model_server_port=70000), "a number from 1 to 65535"),
    (lambda: worker(model_log_file=5), "model_log_file is 5"),
    (lambda: worker(model_healthcheck_url=5), "model_healthcheck_url is 5"),
    (lambda: worker(max_sessions=-1), "max_sessions is -1"),
    (lambda: worker(lifecycle=5), "lifecycle is 5; it takes an async context manager"),
    (lambda: worker(lifecycle=undecorated), "lifecycle is `async def undecorated` alone; it needs @contextlib.asyncc"),
    (lambda: worker(lifecycle=no_yield), "needs @contextlib.asynccontextmanager above it, and a yield in it"),
    (lambda: worker(lifecycle=contextlib.contextmanager(sync_generator)), "lifecycle is a sync generator"),
    (lambda: Backend(lifecycle=undecorated), "Backend: lifecycle is `async def undecorated` alone"),
    (lambda: worker(fixed_throughput=-1), "fixed_throughput is -1; it takes a number above 0, or None to measure it"),
    (lambda: worker(fixed_throughput=0), "fixed_throughput is 0"),
    (lambda: worker(fixed_throughput="fast"), "fixed_throughput is 'fast'"),
    (lambda: worker(readiness="soon"), "readiness is 'soon'"),
    (lambda: worker(benchmark_data={"a": 1}), "benchmark_data is one payload"),
    (lambda: worker(benchmark_route="g"), "did you mean '/g'?"),
    (lambda: handler("/g", response_generator=pieces), "response_generator is pieces, which yields; it must return"),
    (lambda: handler("/a/{x"), "route is '/a/{x'; a place in it is written {name}"),
    (lambda: handler("/a/x}"), "a place in it is written {name}"),
    (lambda: handler("/session/create"), "route is '/session/create'; that is the worker's own"),
    (
        lambda: benchmark(generator=sync_generator),
        "generator is sync_generator, which yields; it must return",
    ),
    (lambda: benchmark(dataset=[{"a": 1}, {"a": object()}]), "dataset[1] is no JSON: it holds what JSON has not"),
    # all together
    (lambda: cast("Any", Worker)(model_server_url="http://h:1"), "Worker(WorkerConfig(model_server_url=...))"),
    (cast("Any", Worker), "Worker takes a WorkerConfig"),
    (
        lambda: Worker(WorkerConfig(handlers=[HandlerConfig("/a/{x}"), HandlerConfig("/a/{y}")])),
        "more than one handler for POST /a/{y}",
    ),
    (lambda: Worker(unchecked({})), "Worker takes a WorkerConfig"),
    (lambda: Worker(WorkerConfig(handlers=[HandlerConfig("/g"), HandlerConfig("/g")])), "more than one handler for"),
    (
        lambda: Worker(WorkerConfig(handlers=[HandlerConfig(r, benchmark_config=BENCHMARK) for r in ("/a", "/b")])),
        "/a and /b both have a benchmark",
    ),
    (
        lambda: Worker(WorkerConfig(handlers=[HandlerConfig("/a"), HandlerConfig("/b")], benchmark_data=[{}])),
        "benchmark_data needs a benchmark_route, one of /a, /b",
    ),
    (
        lambda: Worker(WorkerConfig(handlers=[HandlerConfig("/aa")], benchmark_data=[{}], benchmark_route="/ab")),
        "did you mean '/aa'?",
    ),
    (
        lambda: Worker(WorkerConfig(handlers=[HandlerConfig("/a")], benchmark_route="/a")),
        "give benchmark_data",
    ),
    (
        lambda: Worker(
            WorkerConfig(handlers=[HandlerConfig("/a", benchmark_config=BENCHMARK)], benchmark_data=[{"b": 1}])
        ),
        "are both given",
    ),
]


@pytest.mark.parametrize(("make", "said"), MISTAKES)
def test_a_mistake_is_found_when_it_is_made_and_says_what_was_meant(make: Make, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert said in str(raised.value)


def test_all_mistakes_of_an_object_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        handler("g", max_queue_time=-1, allow_parallel_requests=1)
    lines = str(raised.value).splitlines()
    assert [line.split(": ")[1].split()[0] for line in lines] == ["route", "allow_parallel_requests", "max_queue_time"]


def test_payloads_are_not_shown() -> None:
    """They may be people's prompts."""
    secret = BenchmarkConfig(dataset=[{"prompt": "secret"}])
    assert "secret" not in repr(secret) + repr(WorkerConfig(benchmark_data=[{"prompt": "secret"}]))
    with pytest.raises(ConfigurationError) as raised:
        benchmark(dataset=["secret"])
    assert "secret" not in str(raised.value)


def test_a_mistake_that_is_made_afterwards_is_found_by_the_worker() -> None:
    config = WorkerConfig(handlers=[HandlerConfig("/g")])
    unchecked(config).max_sessions = "many"
    with pytest.raises(ConfigurationError, match="max_sessions is 'many'"):
        Worker(config)


# --- what is taken --------------------------------------------------------------------------------


class Callable1:
    async def __call__(self, request: web.Request, response: ClientResponse) -> web.Response:
        return web.Response(text=f"{request}{response}")


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    yield


def passed_on(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*values: Any) -> Any:
        return function(*values)

    return wrapper


@pytest.mark.parametrize(
    "make",
    [
        lambda: handler("/g", response_generator=Callable1()),
        lambda: handler("/g", response_generator=lambda *given: generate(*given)),  # noqa: PLW0108
        lambda: handler("/g", response_generator=functools.partial(generate)),
        lambda: handler("/g", response_generator=passed_on(generate)),
        lambda: handler("/g", workload_calculator=len),
        lambda: handler("/g", workload_calculator=lambda p, scale=1.0: p["x"] * scale),
        lambda: handler("/g", workload_calculator=lambda *p: float(len(p))),
        lambda: handler("/g", methods=["get", "M-SEARCH"]),
        lambda: handler("/v1/models/{name}", max_queue_time=0),
        lambda: handler(handler_class=Generate),
        lambda: handler("/g", payload_class=Prompt, benchmark_config=BenchmarkConfig()),
        lambda: benchmark(dataset=({"a": 1},), concurrency=None),
        lambda: actions(on_load=("a", "b")),
        lambda: worker(max_sessions=None),
        lambda: worker(max_sessions=0),
        lambda: worker(lifecycle=lifespan),
        lambda: worker(lifecycle=lifespan()),
        lambda: worker(model_server_port="8000", benchmark_data=[], model_log_file=""),
    ],
)
def test_this_is_taken(make: Make) -> None:
    make()


@pytest.mark.parametrize(
    ("url", "port", "address"),
    [
        (None, None, ""),
        ("", None, ""),
        ("http://127.0.0.1", 18000, "http://127.0.0.1:18000"),
        ("http://127.0.0.1/", 18000, "http://127.0.0.1:18000"),
        ("http://127.0.0.1/v1", "18000", "http://127.0.0.1:18000/v1"),
        ("http://127.0.0.1:18000", 18000, "http://127.0.0.1:18000"),
        ("https://model.example", None, "https://model.example"),
        ("localhost", 8000, "http://localhost:8000"),
        ("localhost:8000", None, "http://localhost:8000"),
        ("http://[::1]", 8000, "http://[::1]:8000"),
        (None, 8000, "http://127.0.0.1:8000"),
    ],
)
def test_url_and_port_are_joined(url: str | None, port: Any, address: str) -> None:
    WorkerConfig(model_server_url=url, model_server_port=port)
    assert Worker(WorkerConfig(model_server_url=url, model_server_port=port)).backend.model_server_url == address
    assert model_address(url, port).rstrip("/") == address


# --- what becomes of it ---------------------------------------------------------------------------


def test_without_handlers_there_is_one_for_the_root() -> None:
    made = Worker(WorkerConfig())
    assert only(made).endpoint == "/"
    assert [(route.method, route.path) for route in cast("list[web.RouteDef]", made.routes)] == [("POST", "/")]


def test_a_handler_config_becomes_a_handler_that_passes_through() -> None:
    def count(payload: dict[str, Any]) -> float:
        return float(len(payload))

    config = HandlerConfig(
        "/g", max_queue_time=None, workload_calculator=count, healthcheck="/up", methods=["get"], max_concurrency=3
    )
    assert only(Worker(WorkerConfig(handlers=[config]))) == DeclaredHandler(
        endpoint="/g",
        workload_calculator=count,
        allow_parallel_requests=False,
        methods=("GET",),
        max_concurrency=3,
        healthcheck_endpoint="/up",
    )


def test_log_actions_go_to_the_backend_errors_before_information() -> None:
    said = LogActionConfig(on_info=["i"], on_load=["l1", "l2"], on_error=["e"])
    assert Worker(WorkerConfig(log_action_config=said)).backend.log_actions == [
        (LogAction.ModelLoaded, "l1"),
        (LogAction.ModelLoaded, "l2"),
        (LogAction.ModelError, "e"),
        (LogAction.Info, "i"),
    ]


def payloads(made: Any) -> Iterator[Any]:
    """What the benchmark sends, one after the other."""
    while True:
        yield made.benchmark_payload()


def test_a_dataset_is_taken_in_turn() -> None:
    config = HandlerConfig("/g", benchmark_config=BenchmarkConfig(dataset=[{"n": 1}, {"n": 2}], runs=2, concurrency=4))
    made = Worker(WorkerConfig(handlers=[HandlerConfig("/h"), config])).backend.benchmark_handler
    assert isinstance(made, DeclaredHandler)
    assert (made.endpoint, made.benchmark_runs, made.concurrency) == ("/g", 2, 4)
    assert [payload["n"] for payload, _ in zip(payloads(made), range(5), strict=False)] == [1, 2, 1, 2, 1]


def test_the_workers_own_benchmark_goes_to_the_route_it_names() -> None:
    config = WorkerConfig(
        handlers=[HandlerConfig("/a"), HandlerConfig("/b")], benchmark_data=[{"n": 1}], benchmark_route="/b"
    )
    made = Worker(config).backend.benchmark_handler
    assert isinstance(made, DeclaredHandler)
    assert made.endpoint == "/b"
    assert next(payloads(made)) == {"n": 1}
    alone = Worker(WorkerConfig(handlers=[HandlerConfig("/a")], benchmark_data=[{"n": 1}])).backend.benchmark_handler
    assert alone is not None
    assert alone.endpoint == "/a"


def test_fewer_payloads_than_requests_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Fault 9."""
    few = HandlerConfig("/g", allow_parallel_requests=True, benchmark_config=BENCHMARK)
    Worker(WorkerConfig(handlers=[few]))
    assert "sends 81 requests and has 1 payloads" in caplog.text
    caplog.clear()
    enough = BenchmarkConfig(dataset=[{"n": n} for n in range(9)])
    Worker(WorkerConfig(handlers=[HandlerConfig("/g", benchmark_config=enough)]))  # serial: one at a time
    assert not caplog.text


@dataclasses.dataclass
class Parallel(Generate):
    allow_parallel_requests: bool | None = True
    max_queue_time: float | None = 5.0
    concurrency: int = 3


def test_what_a_handler_class_says_counts_unless_the_configuration_says_otherwise() -> None:
    made = only(Worker(WorkerConfig(handlers=[HandlerConfig("/g", handler_class=Parallel)])))
    assert (made.allow_parallel_requests, made.max_queue_time, made.concurrency) == (True, 5.0, 3)
    config = HandlerConfig(
        "/g",
        handler_class=Parallel,
        allow_parallel_requests=False,
        max_queue_time=None,
        benchmark_config=BenchmarkConfig(dataset=[{"prompt": "x"}], concurrency=7),
        healthcheck="/up",
    )
    made = only(Worker(WorkerConfig(handlers=[config])))
    assert (made.allow_parallel_requests, made.max_queue_time, made.concurrency) == (False, None, 7)
    assert made.make_benchmark_payload() == Prompt("x")
    assert made.healthcheck_endpoint == "/up"
    plain = only(Worker(WorkerConfig(handlers=[HandlerConfig("/g", handler_class=Generate)])))
    assert (plain.allow_parallel_requests, plain.max_queue_time) == (False, 30.0)


def test_a_handler_class_without_a_route_is_at_its_own_endpoint() -> None:
    (route,) = Worker(WorkerConfig(handlers=[HandlerConfig(handler_class=Generate)])).routes
    assert cast("web.RouteDef", route).path == "/generate"


class Needy(Generate):
    def __init__(self, name: str) -> None:
        super().__init__(name)


class Incomplete(EndpointHandler[Any]):
    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response:
        return await generate(client_request, model_response)


@pytest.mark.parametrize("handler_class", [Needy, Incomplete])
def test_a_handler_class_that_cannot_be_made_is_named(handler_class: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"HandlerConfig\('/g'\): handler_class {handler_class.__name__}"):
        Worker(WorkerConfig(handlers=[HandlerConfig("/g", handler_class=handler_class)]))


def test_what_is_not_asked_beside_a_handler_class_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    config = HandlerConfig("/g", handler_class=Generate, request_parser=dict, workload_calculator=len)
    with caplog.at_level(logging.WARNING):
        Worker(WorkerConfig(handlers=[config]))
    told = [record.getMessage() for record in caplog.records]
    assert ["workload_calculator is not asked" in told[0], "request_parser is not asked" in told[1]] == [True, True]


def test_payload_classes_are_apipayloads() -> None:
    assert issubclass(Prompt, ApiPayload)
    assert only(Worker(WorkerConfig(handlers=[HandlerConfig("/g", payload_class=Prompt)]))).payload_class is Prompt
