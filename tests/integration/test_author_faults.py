"""What goes wrong in authors' code, in both styles: whose fault it is, and what the log says; the worker lives on."""

from __future__ import annotations

import dataclasses
import gc
import threading
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import ClientResponse, web

from pyworker import ApiPayload, BenchmarkConfig, EndpointHandler, HandlerConfig
from pyworker.worker import author_code
from pyworker.worker.core.readiness import State
from tests.support.workers.rig import Rig, a_declared_worker, until


@dataclasses.dataclass
class Wild(ApiPayload):
    """Fails as its payload says."""

    words: int

    @classmethod
    def for_test(cls) -> Self:
        return cls(1)

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        errors: dict[str, BaseException] = {
            "lookup": KeyError("words"),
            "type": TypeError("no number"),
            "value": ValueError("too many words"),
            "ours": RuntimeError("no model"),
            "exit": SystemExit(3),
        }
        if (fails := json_msg.get("fails")) is not None:
            raise errors[fails]
        return cls(json_msg["words"])

    def count_workload(self) -> float:
        return float(self.words)


class WildHandler(EndpointHandler[Wild]):
    @property
    def endpoint(self) -> str:
        return "/g"

    @classmethod
    def payload_cls(cls) -> type[Wild]:
        return Wild

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.StreamResponse:
        envelope = await client_request.json()
        if envelope["payload"].get("words") == 3:
            raise SystemExit(3)
        return web.json_response({"asked": envelope["payload"], "model": await model_response.json()})


STYLES = [HandlerConfig(route="/g", payload_class=Wild), HandlerConfig(route="/g", handler_class=WildHandler)]


@pytest.mark.parametrize("config", STYLES, ids=["payload_class", "handler_class"])
@pytest.mark.parametrize(
    ("fails", "status", "told"),
    [("lookup", 422, 1), ("type", 422, 1), ("value", 422, 0), ("ours", 500, 1), ("exit", 500, 1)],
)
async def test_one_policy_for_payload_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, config: HandlerConfig, fails: str, status: int, told: int
) -> None:
    """What it does not expect is the client's fault, and told once: it may be the author's all the same."""
    async with a_declared_worker(tmp_path, config) as rig:
        for _ in range(3):
            answered = await rig.post("/g", {"fails": fails})
            assert answered.status == status, answered
        assert rig.runtime.readiness.is_ready
        await rig.settled()
    of_handler = [record for record in caplog.records if record.name == "pyworker.handler"]
    assert len(of_handler) == told
    assert all("/g" in record.getMessage() for record in of_handler)


async def test_the_whole_request_is_the_authors_who_answers_by_subclass(tmp_path: Path) -> None:
    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", handler_class=WildHandler)) as rig:
        assert (await rig.post("/g", {"words": 2})).json()["asked"] == {"words": 2}
        assert (await rig.post("/g", {"words": 3})).status == 500  # sys.exit() there ends no worker
        assert (await rig.post("/g", {"words": 4})).status == 200


@pytest.mark.parametrize("parser", [None, dict], ids=["passes", "parsed"])
async def test_the_whole_request_is_the_authors_who_answers_by_declaration(tmp_path: Path, parser: Any) -> None:
    async def generate(request: web.Request, _model: ClientResponse) -> web.Response:
        read, text = await request.read(), await request.text()
        return web.json_response({"same": read == text.encode(), "asked": await request.json()})

    config = HandlerConfig(route="/g", request_parser=parser, response_generator=generate)
    async with a_declared_worker(tmp_path, config) as rig:
        answered = (await rig.post("/g", {"a": 1})).json()
        assert (answered["same"], answered["asked"]["payload"]) == (True, {"a": 1})
        plain = await rig.send("POST", "/g", data=b'{"b": 2}', headers={"Content-Type": "application/json"})
        assert plain.json() == {"same": True, "asked": {"b": 2}}
        assert rig.model.requests[-1].json() == {"b": 2}


async def test_a_generator_that_runs_out_is_a_benchmark_that_failed(tmp_path: Path) -> None:
    payloads = iter([{"a": 1}])
    config = HandlerConfig(route="/g", benchmark_config=BenchmarkConfig(generator=lambda: next(payloads)))
    async with a_declared_worker(tmp_path, config, wait=False) as rig:
        await until(lambda: rig.runtime.readiness.state is State.ERRORED, "the benchmark has failed")
        assert "the benchmark of /g: RuntimeError: it raised StopIteration" in rig.runtime.readiness.error


@pytest.mark.may_block
@pytest.mark.parametrize("in_thread", [False, True], ids=["on the loop", "in a thread"])
@pytest.mark.parametrize("error", [StopIteration, SystemExit])
async def test_a_parser_that_would_end_more_than_its_request_is_a_500(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], in_thread: bool
) -> None:
    if in_thread:
        monkeypatch.setattr(author_code, "SLOW_S", -1.0)

    def parse(payload: dict[str, Any]) -> dict[str, Any]:
        if payload:
            raise error
        return payload

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", request_parser=parse)) as rig:
        assert (await rig.post("/g", {})).status == 200
        for _ in range(2):
            assert (await rig.post("/g", {"a": 1})).status == 500
        assert (await rig.post("/g", {})).status == 200


@pytest.mark.may_block
async def test_a_parser_that_hangs_is_a_500_and_its_route_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(author_code, "SLOW_S", -1.0)
    monkeypatch.setattr(author_code, "LIMIT_S", 0.1)
    let_go = threading.Event()

    def parse(payload: dict[str, Any]) -> dict[str, Any]:
        if payload:
            let_go.wait(30)
        return payload

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", request_parser=parse)) as rig:
        assert (await rig.post("/g", {})).status == 200
        assert (await rig.post("/g", {"hang": True})).status == 500
        monkeypatch.setattr(author_code, "LIMIT_S", 30.0)
        assert (await rig.post("/g", {})).status == 200
        let_go.set()
    assert "is given up" in caplog.text


async def test_no_prompt_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = HandlerConfig(route="/g", workload_calculator=lambda p: p["prompt"])
    async with a_declared_worker(tmp_path, config) as rig:
        for _ in range(2):
            assert (await rig.post("/g", {"prompt": "my secret"})).status == 200
    assert "my secret" not in caplog.text
    assert caplog.text.count("the workload_calculator of /g gave a str; 100 is booked instead") == 1


async def counted(payload: dict[str, Any]) -> float:
    """A calculator of some library, say."""
    return float(payload["tokens"])


async def test_a_calculator_that_turns_out_to_be_async_is_awaited_from_then_on(tmp_path: Path) -> None:
    config = HandlerConfig(route="/g", workload_calculator=lambda p: counted(p))  # noqa: PLW0108
    async with a_declared_worker(tmp_path, config) as rig:
        for _ in range(3):
            assert (await rig.post("/g", {"tokens": 7})).status == 200
        assert received(rig) == 100 + 7 + 7
    gc.collect()  # where a coroutine that was never awaited would be a warning


async def test_an_answer_that_fails_is_traced_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def generate(_request: web.Request, _model: ClientResponse) -> web.Response:
        raise KeyError("x")

    async with a_declared_worker(tmp_path, HandlerConfig(route="/g", response_generator=generate)) as rig:
        for _ in range(3):
            assert (await rig.post("/g", {})).status == 500
        await rig.settled(errored=3)
    assert caplog.text.count("Traceback") == 1
    assert "response_generator of /g failed" in caplog.text


def received(rig: Rig) -> float:
    """The workload received so far."""
    return rig.runtime.books.ledger.received.workload
