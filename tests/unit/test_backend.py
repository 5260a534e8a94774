"""The Backend collects, does no I/O, and says what is wrong with its arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pyworker import Backend, LogAction
from pyworker.errors import ConfigurationError, NotReady
from pyworker.handlers import PassThroughHandler

URL = "http://127.0.0.1:5001"
make: Callable[..., Backend] = Backend


def test_what_the_guide_gives_is_kept() -> None:
    backend = Backend(
        model_server_url=URL + "/v1/",
        model_log_file="model.log",
        allow_parallel_requests=True,
        log_actions=[(LogAction.ModelLoaded, "started"), (LogAction.ModelError, "corrupted")],
    )
    assert backend.model_server_url == URL + "/v1"
    assert backend.log_actions == [(LogAction.ModelLoaded, "started"), (LogAction.ModelError, "corrupted")]


def test_what_the_environment_may_say_need_not_be_given() -> None:
    backend = Backend(readiness="log")
    assert (backend.model_server_url, backend.model_log_file) == ("", None)


@pytest.mark.parametrize("name", [name for name in inspect.signature(Backend).parameters if name != "unknown"])
def test_a_misspelt_keyword_is_told_what_was_meant(name: str) -> None:
    misspelt = name[1:]
    with pytest.raises(ConfigurationError, match=f"Backend has no keyword '{misspelt}': did you mean '{name}'"):
        make(URL, **{misspelt: None})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model_server_url": "127.0.0.1:5001"}, "model_server_url"),
        ({"model_server_url": "ftp://host"}, "model_server_url"),
        ({"model_server_url": "http://"}, "model_server_url"),
        ({"model_server_url": "http://[::1"}, "model_server_url"),
        ({"model_server_url": "http://host:99999"}, "model_server_url"),
        ({"model_server_url": "http://host:port"}, "model_server_url"),
        ({"readiness": "helth"}, "readiness"),
        ({"close_routes": "/end"}, "close_routes"),
        ({"close_routes": ["end"]}, "close_routes"),
        ({"close_routes": ["/end", "http://host/end"]}, "close_routes"),
        ({"close_routes": ["//host/end"]}, "close_routes"),
        ({"close_routes": ["/a/../end"]}, "close_routes"),
        ({"close_routes": ["/end?now=1"]}, "close_routes"),
        ({"close_routes": ["/end/{id}"]}, "close_routes"),
        ({"close_routes": ["/end\r\nX: y"]}, "close_routes"),
        ({"close_routes": [5]}, "close_routes"),
        ({"log_actions": [(LogAction.ModelLoaded, "")]}, "log_actions"),
        ({"log_actions": [("ModelLoaded", "started")]}, "log_actions"),
        ({"log_actions": ["started"]}, "log_actions"),
        ({"log_actions": [(LogAction.ModelLoaded, b"started")]}, "log_actions"),
        ({"fixed_throughput": 0}, "fixed_throughput"),
        ({"fixed_throughput": -1.0}, "fixed_throughput"),
        ({"fixed_throughput": math.inf}, "fixed_throughput"),
        ({"fixed_throughput": math.nan}, "fixed_throughput"),
        ({"fixed_throughput": "12"}, "fixed_throughput"),
        ({"max_wait_time": -1}, "max_wait_time"),
        ({"max_wait_time": "30"}, "max_wait_time"),
        ({"max_sessions": -1}, "max_sessions"),
    ],
)
def test_an_argument_that_cannot_work_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make(**{"model_server_url": URL, **arguments})


def test_session_and_metrics_are_there_only_while_the_server_runs() -> None:
    backend = Backend(URL)
    for use in (lambda: backend.session, lambda: backend.metrics, lambda: backend.backend_errored("x")):
        with pytest.raises(ConfigurationError, match="only while the server runs"):
            use()


async def test_a_handler_answers_not_ready_before_the_server_runs() -> None:
    handle = Backend(URL).create_handler(PassThroughHandler("/generate"))
    with pytest.raises(NotReady):
        await handle(make_mocked_request("POST", "/generate"))


def test_a_handler_that_is_made_while_the_server_runs_is_refused_at_once() -> None:
    backend = Backend(URL)
    backend.running = cast("Any", object())
    with pytest.raises(ConfigurationError, match="make them all before start_server"):
        backend.create_handler(PassThroughHandler("/generate"))


def test_routes_are_made_for_each_method_of_each_handler() -> None:
    routes = Backend(URL).routes(PassThroughHandler("/a"), PassThroughHandler("/b", methods=("GET", "PUT")))
    assert all(isinstance(route, web.RouteDef) for route in routes)
    assert [(route.method, route.path) for route in routes] == [("POST", "/a"), ("GET", "/b"), ("PUT", "/b")]


@pytest.mark.parametrize("methods", [("GET", "HEAD"), ("HEAD", "GET"), ("GET",), ("POST", "GET")])
def test_a_handler_for_get_and_head_can_be_served(methods: tuple[str, ...]) -> None:
    app = web.Application()
    app.add_routes(Backend(URL).routes(PassThroughHandler("/a", methods=methods)))
    served = {route.method for route in app.router.routes()}
    assert served == {*methods, "HEAD"}


def test_a_websocket_is_opened_by_get() -> None:
    backend = Backend(URL)
    (route,) = backend.routes(PassThroughHandler("/ws", websocket=True))
    assert (route.method, route.path) == ("GET", "/ws")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workload_calculator": len}, "workload_calculator: give workload"),
        ({"benchmark_payload": dict}, "benchmark_payload: give workload"),
        ({"methods": ("PUT",)}, "opened by GET only"),
    ],
)
def test_what_a_websocket_cannot_have_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PassThroughHandler("/ws", websocket=True, **given)
