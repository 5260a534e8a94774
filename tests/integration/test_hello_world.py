"""The worker of the tutorial as a process: its routes, readiness and benchmark; before a fake model and a real."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess, answer, by_hand, free_port
from workers.hello_world.prompt_tokens import count_tokens

ASKED = {"prompt": "What is the capital of France?", "max_response_tokens": 20}
STARTED = '{"level":"INFO","message":"infer server has started"}'


@dataclass
class HelloWorld:
    """The worker, what it stands between, and a client of it."""

    engine: FakeEngine
    model: FakeModel
    process: WorkerProcess
    http: aiohttp.ClientSession

    def envelope(self, payload: Any = ASKED) -> dict[str, Any]:
        return self.engine.envelope(self.engine.sign(self.process.url), payload)


@asynccontextmanager
async def hello_world(folder: Path, *command: str) -> AsyncIterator[HelloWorld]:
    """It waits for the model to be loaded."""
    log_path = folder / "model.log"
    async with FakeEngine() as engine, FakeModel(log_path=log_path, health_path="/healthcheck") as model:
        env = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log_path)}
        process = WorkerProcess(command or ["-m", "workers.hello_world.server"], engine=engine, env=env)
        async with process, aiohttp.ClientSession(process.url) as http:
            await process.answers("/ping", status=200)
            yield HelloWorld(engine, model, process, http)


@asynccontextmanager
async def ready_hello_world(folder: Path, *command: str) -> AsyncIterator[HelloWorld]:
    async with hello_world(folder, *command) as worker:
        worker.model.log(STARTED)
        await worker.process.ready()
        yield worker


# --- its routes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [(), ("-m", "pyworker.cli", "run", "workers/hello_world")])
async def test_generate_passes_on_the_payload_and_the_models_answer(tmp_path: Path, command: tuple[str, ...]) -> None:
    async with ready_hello_world(tmp_path, *command) as worker:
        worker.model.requests.clear()
        worker.model.on("/generate", answer({"response": "Paris."}))
        async with worker.http.post("/generate", json=worker.envelope()) as response:
            assert (response.status, await response.json()) == (200, {"response": "Paris."})
        request = await worker.model.requests.next()
        assert (request.path, json.loads(request.body)) == ("/generate", ASKED)


async def test_the_models_error_keeps_its_status_and_words(tmp_path: Path) -> None:
    async with ready_hello_world(tmp_path) as worker:
        worker.model.on("/generate", answer({"error": "the prompt is too long"}, status=400))
        async with worker.http.post("/generate", json=worker.envelope()) as response:
            assert (response.status, await response.json()) == (400, {"error": "the prompt is too long"})


async def test_a_stream_reaches_the_client_token_by_token(tmp_path: Path) -> None:
    async with ready_hello_world(tmp_path) as worker:
        worker.model.requests.clear()
        worker.model.on("/generate_stream", by_hand)
        asking = asyncio.create_task(worker.http.post("/generate_stream", json=worker.envelope()))
        request = await worker.model.requests.next()
        await request.start(headers={"Content-Type": "text/event-stream"})
        await request.send('data: {"token":"Pa"}\n\n')
        async with await asking as response:
            assert response.content_type == "text/event-stream"
            assert await response.content.readuntil(b"\n\n") == b'data: {"token":"Pa"}\n\n'
            await request.send('data: {"token":"ris"}\n\n')  # only now: the first did not wait for it
            assert await response.content.readuntil(b"\n\n") == b'data: {"token":"ris"}\n\n'
            await request.end()
            assert await response.content.read() == b""


WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"prompt": "missing parameter"}),
    ({"prompt": 5, "max_response_tokens": "a"}, {"prompt": "string", "max_response_tokens": "integer"}),
    ({"prompt": "a", "max_response_tokens": 0}, {"max_response_tokens": "must be 1 or more"}),
]


async def test_a_wrong_payload_is_422_and_names_each_field(tmp_path: Path) -> None:
    async with ready_hello_world(tmp_path) as worker:
        worker.model.requests.clear()
        for route, (payload, reasons) in itertools.product(("/generate", "/generate_stream"), WRONG):
            async with worker.http.post(route, json=worker.envelope(payload)) as response:
                assert response.status == 422
                said = (await response.json())["payload"]
            assert said.keys() == reasons.keys()
            assert all(reason in said[field] for field, reason in reasons.items())
        assert worker.model.requests == []


async def test_ping_is_the_workers_and_healthcheck_the_models_own(tmp_path: Path) -> None:
    async with hello_world(tmp_path) as worker:
        async with worker.http.get("/ping") as response:
            assert (response.status, await response.text()) == (200, "pong")
        for healthy, status in [(True, 200), (False, 503)]:
            worker.model.healthy = healthy
            async with worker.http.get("/healthcheck") as response:
                assert (response.status, await response.json()) == (status, {"ok": healthy})
        await worker.model.stop_listening()
        async with worker.http.get("/healthcheck") as response:
            assert (response.status, await response.json()) == (503, {"status": "the model does not answer"})


async def test_workload_is_prompt_tokens(tmp_path: Path) -> None:
    tokens = await asyncio.to_thread(count_tokens, ASKED["prompt"])
    async with ready_hello_world(tmp_path) as worker:
        worker.model.on("/generate", by_hand)
        asking = asyncio.create_task(worker.http.post("/generate", json=worker.envelope()))
        await worker.engine.reports.where(lambda report: report.cur_load == tokens)
        request = await worker.model.requests.where(lambda request: request.json() == ASKED)
        await request.answer({"response": "Paris."})
        async with await asking as response:
            assert response.status == 200
        await worker.engine.reports.where(lambda report: report.cur_load == 0 and report.cur_perf == tokens)


# --- readiness and benchmark ----------------------------------------------------------------------


async def test_the_benchmark_asks_for_300_tokens_on_250_random_words(tmp_path: Path) -> None:
    async with ready_hello_world(tmp_path) as worker:
        asked = [request.json() for request in worker.model.requests]
        assert len(asked) == 31  # to warm up, and three rounds of ten
        assert {request.path for request in worker.model.requests} == {"/generate"}
        assert {request["max_response_tokens"] for request in asked} == {300}
        assert all(250 <= len(request["prompt"].split()) <= 270 for request in asked)  # some "words" are two
        assert len({request["prompt"] for request in asked}) == len(asked)


async def test_the_models_log_decides(tmp_path: Path) -> None:
    async with hello_world(tmp_path) as worker:
        worker.model.log('{"level":"INFO","message":"Download 10%"}')
        await worker.process.output.where(lambda line: "Download 10%" in line)
        assert worker.model.requests == []
        worker.model.log(STARTED)
        await worker.process.ready()
        worker.model.healthy = False
        worker.model.log('{"level":"ERROR","message":"Exception: corrupted model file: x.gguf"}')
        await worker.process.answers(status=503)
        await worker.engine.reports.where(lambda report: "corrupted model file" in (report.error_msg or ""))


async def test_a_model_server_that_cannot_start_is_an_error(tmp_path: Path) -> None:
    async with hello_world(tmp_path) as worker:
        worker.model.log(
            '{"level":"ERROR","message":"cannot start the model server: [Errno 98] Address already in use"}'
        )
        await worker.engine.reports.where(lambda report: "Address already in use" in (report.error_msg or ""))


async def test_without_a_log_the_models_health_decides() -> None:
    async with FakeEngine() as engine, FakeModel(health_path="/healthcheck", healthy=False) as model:
        command = ["-m", "workers.hello_world.server"]
        async with WorkerProcess(command, engine=engine, env={"MODEL_SERVER_URL": model.url}) as process:
            await model.health_checks.next()
            assert await process.answers() == 503
            model.healthy = True
            await process.ready()


# --- the real model -------------------------------------------------------------------------------

# the tutorial's own worker, but for the benchmark: on a CPU it takes minutes
WITHOUT_BENCHMARK = """
from lib.server import start_server
from workers.hello_world.server import backend, routes
backend.fixed_throughput = 100.0
start_server(backend, routes)
"""


@pytest.mark.limit_s(90)
async def test_the_real_model_answers_and_streams_through_the_worker(tmp_path: Path) -> None:
    script, log_path, port = tmp_path / "run.py", tmp_path / "real.log", free_port()
    script.write_text(WITHOUT_BENCHMARK)
    model = WorkerProcess(
        ["-m", "workers.hello_world.model_server", "--threads", "1", "--port", str(port), "--log", str(log_path)]
    )
    async with FakeEngine() as engine, model:
        env = {"MODEL_SERVER_URL": f"http://127.0.0.1:{port}", "MODEL_LOG": str(log_path)}
        worker = WorkerProcess([str(script)], engine=engine, env=env)
        async with worker, aiohttp.ClientSession(worker.url) as http:
            await worker.ready()
            async with http.post("/generate", json=engine.envelope(engine.sign(worker.url), ASKED)) as response:
                assert response.status == 200
                assert (await response.json())["response"].strip()
            async with http.post("/generate_stream", json=engine.envelope(engine.sign(worker.url), ASKED)) as response:
                events = [json.loads(line[5:]) async for line in response.content if line != b"\n"]
    assert [event for event in events if event.get("token")]
    assert 1 <= events[-1]["response_tokens"] <= 20
