"""A worker by declaration, on real sockets: what passes through, and what its author's functions do in between."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import ClientResponse, web

from pyworker import ApiPayload, EndpointHandler, HandlerConfig, JsonDataException, Worker
from pyworker.testing import answer, by_hand, echo, stream
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.workers.handlers import Prompt
from tests.support.workers.rig import Rig, a_declared_worker, until


def proof(rig: Rig, **claims: Any) -> dict[str, str]:
    """The header of a request that is no envelope."""
    return {"X-Auth-Data": dump_auth_header(parse_auth_data(rig.auth(**claims)))}


def workload(rig: Rig) -> float:
    """The workload received so far."""
    return rig.runtime.books.ledger.received.workload


# --- passing through ------------------------------------------------------------------------------


async def test_status_headers_and_body_pass_through(tmp_path: Path) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/v1/x"), mode=Mode.TICKET) as rig:
        rig.model.on("/v1/x", answer({"made": True}, status=201, headers={"X-Model": "m", "Keep-Alive": "timeout=5"}))
        answered = await rig.post("/v1/x", {"a": 1})
        assert (answered.status, answered.json(), answered.headers["X-Model"]) == (201, {"made": True}, "m")
        assert "Keep-Alive" not in answered.headers
        assert rig.model.requests[0].json() == {"a": 1}
        assert workload(rig) == 100


async def test_a_stream_passes_through_piece_by_piece(tmp_path: Path) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/s")) as rig:
        rig.model.on("/s", by_hand)
        opening = asyncio.create_task(rig.open("/s", {}))
        request = await rig.model.requests.next()
        await request.send("data: 1\n\n")
        response = await opening
        assert await response.content.readany() == b"data: 1\n\n"
        await request.send("data: 2\n\n")
        assert await response.content.readany() == b"data: 2\n\n"
        await request.end()
        assert await response.content.readany() == b""


async def test_without_handlers_there_is_one_for_the_root(tmp_path: Path) -> None:
    async with a_declared_worker(tmp_path) as rig:
        assert (await rig.post("/", {"a": 1})).status == 200
        assert rig.model.requests[0].path == "/"


async def test_other_methods_places_and_bodies_pass_through(tmp_path: Path) -> None:
    handlers = (
        HandlerConfig(route="/v1/models/{name}", methods=("GET", "DELETE")),
        HandlerConfig(route="/upload", methods=["POST", "PUT"]),
    )
    async with a_declared_worker(tmp_path, *handlers, mode=Mode.TICKET) as rig:
        assert (await rig.send("GET", "/v1/models/a%20b?limit=3", headers=proof(rig))).status == 200
        assert rig.model.requests[-1].path == "/v1/models/a%20b"
        assert (await rig.send("DELETE", "/v1/models/m", headers=proof(rig))).status == 200
        assert (await rig.send("POST", "/v1/models/m", headers=proof(rig))).status == 405
        rig.model.on("/upload", echo)
        form = aiohttp.FormData({"field": "value"})
        form.add_field("file", b"\x00\xff", filename="a.bin")
        body = form()
        sent = await rig.send("PUT", "/upload", data=body, headers=proof(rig))
        assert b"\x00\xff" in sent.body
        assert sent.headers["Content-Type"].startswith("multipart/form-data; boundary=")
        sent = await rig.send("POST", "/upload", data=bytes(range(256)), headers=proof(rig))
        assert sent.body == bytes(range(256))
        assert (await rig.send("POST", "/upload", data=b"\x00")).status == 401


async def test_routes_of_the_authors_own_may_be_appended(tmp_path: Path) -> None:
    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="pong")

    def change(worker: Worker) -> None:
        worker.routes.append(web.get("/ping", ping))
        worker.routes.append(web.post("/same", worker.backend.create_handler(worker.backend.mounts[0].handler)))

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g"), change=change) as rig:
        assert (await rig.send("GET", "/ping")).body == b"pong"
        assert (await rig.post("/same", {})).status == 200
        assert rig.model.requests[-1].path == "/g"


# --- the calculator -------------------------------------------------------------------------------


async def async_tokens(payload: dict[str, Any]) -> float:
    await asyncio.sleep(0)
    return float(payload["tokens"])


@pytest.mark.parametrize("calculator", [lambda p: float(p["tokens"]), async_tokens], ids=["sync", "async"])
async def test_the_calculator_counts(tmp_path: Path, calculator: Any) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", workload_calculator=calculator)) as rig:
        assert (await rig.post("/g", {"tokens": 7})).status == 200
        assert workload(rig) == 7


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, None, "x"])
async def test_a_count_that_is_no_number_is_named_and_counted(
    tmp_path: Path, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 19."""
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", workload_calculator=lambda _: bad)) as rig:
        assert (await rig.post("/g", {})).status == 200
        assert workload(rig) == 100
        assert b"pyworker_bad_workloads_total 1.0" in (await rig.send("GET", "/pyworker/metrics")).body
    shown = "a str" if isinstance(bad, str) else repr(bad)
    assert f"the workload_calculator of /g gave {shown}; 100 is booked" in caplog.text


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_calculator_that_raises_falls_back_and_is_traced_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    """Fault 19."""

    async def later(payload: dict[str, Any]) -> float:
        return payload["missing"]

    config = HandlerConfig(route="/g", workload_calculator=later if is_async else lambda p: p["missing"])
    async with a_declared_worker(tmp_path, config) as rig:
        for _ in range(3):
            assert (await rig.post("/g", {})).status == 200
        assert workload(rig) == 300
        assert b"pyworker_bad_workloads_total 3.0" in (await rig.send("GET", "/pyworker/metrics")).body
    assert caplog.text.count("KeyError") == 1
    assert "workload_calculator of /g" in caplog.text


# --- the parser -----------------------------------------------------------------------------------


async def test_the_parser_makes_what_calculator_and_model_get(tmp_path: Path) -> None:
    config = HandlerConfig(
        route="/g", request_parser=lambda r: {**r["input"], "seed": 1}, workload_calculator=lambda p: p["seed"] * 5.0
    )
    async with a_declared_worker(tmp_path, config, mode=Mode.TICKET) as rig:
        assert (await rig.post("/g", {"input": {"prompt": "x"}})).status == 200
        assert rig.model.requests[0].json() == {"prompt": "x", "seed": 1}
        assert workload(rig) == 5
        head = {**proof(rig), "Content-Type": "application/json"}
        plain = await rig.send("POST", "/g", data=json.dumps({"input": {"prompt": "y"}}), headers=head)
        assert (plain.status, rig.model.requests[1].json()) == (200, {"prompt": "y", "seed": 1})
        assert (await rig.send("POST", "/g", data=b"\x00", headers=proof(rig))).status == 415


async def test_a_parser_may_be_async(tmp_path: Path) -> None:
    async def parse(payload: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return payload["input"]

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", request_parser=parse)) as rig:
        assert (await rig.post("/g", {"input": {"a": 1}})).status == 200
        assert rig.model.requests[0].json() == {"a": 1}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("too long"), {"payload": {"error": "too long"}}),
        (JsonDataException({"prompt": "missing parameter"}), {"payload": {"prompt": "missing parameter"}}),
    ],
    ids=["ValueError", "JsonDataException"],
)
async def test_what_a_parser_says_of_the_payload_is_the_clients_fault(
    tmp_path: Path, error: Exception, told: Any
) -> None:
    """Fault 18."""

    def parse(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", request_parser=parse)) as rig:
        answered = await rig.post("/g", {})
        assert (answered.status, answered.json()) == (422, told)
        assert not rig.model.requests
        await rig.settled()


@pytest.mark.parametrize("error", [KeyError("input"), TypeError("x"), RuntimeError("x")], ids=type)
async def test_any_other_error_of_a_parser_is_ours_and_traced_once(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def parse(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", request_parser=parse)) as rig:
        for _ in range(3):
            answered = await rig.post("/g", {})
            assert answered.status == 500
            assert "log" in answered.json()["error"]
        await rig.settled()
    assert caplog.text.count("Traceback") == 1
    assert "request_parser of /g" in caplog.text


async def test_a_parser_that_gives_no_dict_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = HandlerConfig(route="/g", request_parser=lambda r: r["input"])
    async with a_declared_worker(tmp_path, config) as rig:
        assert (await rig.post("/g", {"input": "text"})).status == 500
    assert "request_parser of /g gave a str; it must give a dict" in caplog.text


async def test_nobody_is_parsed_who_was_not_let_in(tmp_path: Path) -> None:
    seen: list[Any] = []

    def parse(payload: dict[str, Any]) -> dict[str, Any]:
        seen.append(payload)
        return payload

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", request_parser=parse), mode=Mode.TICKET) as rig:
        assert (await rig.post("/g", {}, auth={**rig.auth(), "signature": "x"})).status == 401
        assert not seen


async def test_nobody_is_parsed_before_the_worker_is_ready(tmp_path: Path) -> None:
    """A parser may need what its lifecycle loads."""
    loaded: dict[str, Any] = {}
    go_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def load() -> AsyncIterator[None]:
        await go_on.wait()
        loaded["words"] = 5
        yield

    config = HandlerConfig(route="/g", request_parser=lambda r: {**r, "words": loaded["words"]})
    async with a_declared_worker(tmp_path, config, lifecycle=load, wait=False) as rig:
        assert (await rig.post("/g", {})).status == 503
        go_on.set()
        await rig.ready()
        assert (await rig.post("/g", {})).status == 200
        assert rig.model.requests[0].json() == {"words": 5}


@pytest.mark.may_block
async def test_a_slow_parser_is_named_once_and_moved_off_the_event_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 22."""
    go_on, threads = threading.Event(), list[int]()

    def parse(payload: dict[str, Any]) -> dict[str, Any]:
        threads.append(threading.get_ident())
        if payload.get("wait"):
            assert go_on.wait(30)
        else:
            time.sleep(0.06)
        return payload

    config = HandlerConfig(route="/g", request_parser=parse, allow_parallel_requests=True)
    async with a_declared_worker(tmp_path, config, HandlerConfig(route="/other")) as rig:
        assert (await rig.post("/g", {})).status == 200
        held = rig.begin("/g", {"wait": True})
        await until(lambda: len(threads) == 2)
        assert (await rig.post("/other", {})).status == 200  # though the parser stands still
        go_on.set()
        assert (await held).status == 200
    assert threads[0] == threading.get_ident() != threads[1]
    warnings = [record for record in caplog.records if "nothing else was served" in record.getMessage()]
    assert len(warnings) == 1
    assert "test_declared.py" in warnings[0].getMessage()


# --- the response generator -----------------------------------------------------------------------


async def test_a_generator_makes_the_answer(tmp_path: Path) -> None:
    async def generate(request: web.Request, response: ClientResponse) -> web.Response:
        return web.json_response({"path": request.path, "model": await response.json()}, status=203)

    config = HandlerConfig(route="/g", response_generator=generate, request_parser=lambda r: r["input"])
    async with a_declared_worker(tmp_path, config) as rig:
        rig.model.on("/g", answer({"text": "hi"}, gzip=True))
        answered = await rig.post("/g", {"input": {"a": 1}}, headers={"Accept-Encoding": "br"})
        assert (answered.status, answered.json()) == (203, {"path": "/g", "model": {"text": "hi"}})
        assert rig.model.requests[0].json() == {"a": 1}
        assert "Accept-Encoding" not in rig.model.requests[0].headers


async def test_a_generator_may_stream_and_needs_no_envelope(tmp_path: Path) -> None:
    async def generate(request: web.Request, response: ClientResponse) -> web.StreamResponse:
        made = web.StreamResponse(status=response.status)
        await made.prepare(request)
        async for piece in response.content.iter_any():
            await made.write(piece.upper())
        return made

    config = HandlerConfig(route="/g", response_generator=generate, methods=("GET", "POST"))
    async with a_declared_worker(tmp_path, config, mode=Mode.TICKET) as rig:
        rig.model.on("/g", stream(["a", "b"]))
        assert (await rig.post("/g", {})).body == b"AB"
        assert (await rig.send("GET", "/g?x=1", headers=proof(rig))).body == b"AB"
        assert (await rig.send("POST", "/g", data=b"\x00\x01", headers=proof(rig))).body == b"AB"
        assert rig.model.requests[-1].body == b"\x00\x01"


@pytest.mark.parametrize("given", [None, 5, RuntimeError("x")], ids=["nothing", "no response", "an error"])
async def test_a_generator_that_fails_is_a_500_and_an_error_in_the_books(tmp_path: Path, given: Any) -> None:
    async def generate(_request: web.Request, _response: ClientResponse) -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", response_generator=generate)) as rig:
        assert (await rig.post("/g", {})).status == 500
        await rig.settled(errored=1)


# --- payload_class and handler_class --------------------------------------------------------------


@dataclasses.dataclass
class Picture(Prompt):
    def generate_payload_multipart(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "image": ("a.png", b"\x89PNG", "image/png")}


async def test_a_payload_class_checks_counts_and_encodes(tmp_path: Path) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", payload_class=Prompt)) as rig:
        assert (await rig.post("/g", {"prompt": "x", "extra": 1})).status == 200
        assert rig.model.requests[0].json() == {"prompt": "x", "max_response_tokens": 10}
        assert workload(rig) == 10
        refused = await rig.post("/g", {"prompt": 5})
        assert (refused.status, refused.json()) == (422, {"payload": {"prompt": "expected string, got integer"}})


async def test_a_payload_class_may_make_a_form(tmp_path: Path) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", payload_class=Picture)) as rig:
        assert (await rig.post("/g", {"prompt": "x"})).status == 200
        request = rig.model.requests[0]
        assert request.headers["Content-Type"].startswith("multipart/form-data")
        assert b"\x89PNG" in request.body


class WholeHandler(EndpointHandler[Prompt]):
    @property
    def endpoint(self) -> str:
        return "/on/the/model"

    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return Prompt

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response:
        return web.json_response({"by": client_request.path, "text": (await model_response.json())["text"]})


class AnswerOnly(EndpointHandler[Any]):
    async def generate_client_response(
        self,
        client_request: web.Request,  # noqa: ARG002
        model_response: ClientResponse,
    ) -> web.Response:
        return web.Response(status=model_response.status, text="answered")


async def test_a_handler_class_does_it_itself(tmp_path: Path) -> None:
    config = HandlerConfig(route="/here", handler_class=WholeHandler)
    async with a_declared_worker(tmp_path, config) as rig:
        assert (await rig.post("/here", {"prompt": "x"})).json() == {"by": "/here", "text": "hello"}
        assert rig.model.requests[0].path == "/on/the/model"
        assert (await rig.post("/here", {})).status == 422


async def test_a_handler_class_may_leave_route_and_payload_to_the_configuration(tmp_path: Path) -> None:
    config = HandlerConfig(route="/here", handler_class=AnswerOnly, payload_class=Prompt)
    async with a_declared_worker(tmp_path, config) as rig:
        assert (await rig.post("/here", {"prompt": "x"})).body == b"answered"
        assert rig.model.requests[0].path == "/here"


# --- remote functions -----------------------------------------------------------------------------


async def add(a: int, b: int = 1) -> int:
    return a + b


@contextlib.asynccontextmanager
async def lifespan(entered: asyncio.Event, go_on: asyncio.Event) -> AsyncIterator[None]:
    entered.set()
    await go_on.wait()
    yield


async def test_a_remote_function_is_called_instead_of_a_model(tmp_path: Path) -> None:
    config = HandlerConfig(route="/add", remote_function=add, workload_calculator=lambda p: p["a"])
    async with a_declared_worker(tmp_path, config, model_server_url=None, mode=Mode.TICKET) as rig:
        answered = await rig.post("/add", {"a": 2})
        assert (answered.status, answered.json()) == (200, {"result": 3})
        assert workload(rig) == 2
        await rig.settled(served=1)


async def test_a_payload_that_does_not_fit_the_function_is_the_clients_fault(tmp_path: Path) -> None:
    config = HandlerConfig(route="/add", remote_function=add)
    async with a_declared_worker(tmp_path, config, model_server_url=None) as rig:
        answered = await rig.post("/add", {"bb": 2})
        assert answered.status == 422
        assert answered.json() == {"payload": {"a": "missing parameter", "bb": "unknown parameter; did you mean 'b'?"}}
        await rig.settled()


async def test_a_function_may_be_asked_with_a_query(tmp_path: Path) -> None:
    async def hello(name: str) -> str:
        return f"hello {name}"

    config = HandlerConfig(route="/hello", remote_function=hello, methods=("GET",))
    async with a_declared_worker(tmp_path, config, model_server_url=None) as rig:
        assert (await rig.send("GET", "/hello?name=you&api_key=secret")).json() == {"result": "hello you"}


@pytest.mark.parametrize("as_instance", [True, False], ids=["instance", "factory"])
async def test_a_worker_of_functions_is_ready_once_its_lifecycle_is_entered(tmp_path: Path, as_instance: bool) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    lifecycle: Any = lifespan(entered, go_on) if as_instance else lambda: lifespan(entered, go_on)
    config = HandlerConfig(route="/add", remote_function=add, is_remote_dispatch=True)
    async with a_declared_worker(tmp_path, config, model_server_url=None, lifecycle=lifecycle, wait=False) as rig:
        await entered.wait()
        assert (await rig.post("/add", {"a": 1})).status == 503
        go_on.set()
        await rig.ready()
        assert (await rig.post("/add", {"a": 1})).json() == {"result": 2}


async def test_a_function_that_fails_is_a_500_and_traced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("inside")

    config = HandlerConfig(route="/f", remote_function=fail)
    with caplog.at_level(logging.ERROR):
        async with a_declared_worker(tmp_path, config, model_server_url=None) as rig:
            assert (await rig.post("/f", {})).status == 500
            await rig.settled(errored=1)
    assert "remote_function of /f failed" in caplog.text


class OwnDispatch(AnswerOnly):
    async def call_remote_dispatch_function(self, params: dict[str, Any]) -> Any:
        return {"called_with": params}


@dataclasses.dataclass
class Anything(ApiPayload):
    text: str

    @classmethod
    def for_test(cls) -> Self:
        return cls("x")

    def count_workload(self) -> float:
        return 1.0


async def test_a_handler_class_may_dispatch_itself(tmp_path: Path) -> None:
    config = HandlerConfig(route="/f", handler_class=OwnDispatch, payload_class=Anything, is_remote_dispatch=True)
    async with a_declared_worker(tmp_path, config, model_server_url=None) as rig:
        assert (await rig.post("/f", {"text": "x"})).json() == {"result": {"called_with": {"text": "x"}}}
