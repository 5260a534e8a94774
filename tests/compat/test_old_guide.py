"""A worker written from nothing but the guide's prose, in its older style, runs unmodified in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess, answer, stream

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests/support/workers/old_guide"
ASKED: dict[str, Any] = {"prompt": "What is the capital of France?", "max_response_tokens": 20}
AS_A_MODULE = ("-m", "workers.old_guide.server")
BY_PYWORKER = ("-m", "pyworker.cli", "run", "workers/old_guide")


@dataclass
class OldGuide:
    """The worker's process, and what it stands between."""

    model: FakeModel
    engine: FakeEngine
    process: WorkerProcess
    http: aiohttp.ClientSession

    async def post(self, route: str, payload: Any) -> tuple[int, bytes]:
        """A signed request: status and body of its answer."""
        envelope = self.engine.envelope(self.engine.sign(self.process.url), payload)
        async with self.http.post(route, json=envelope) as response:
            return response.status, await response.read()

    async def ready(self) -> None:
        """Loaded and measured."""
        self.model.log("infer server has started")
        await self.process.ready()


@asynccontextmanager
async def old_guide(
    root: Path, *, command: tuple[str, ...] = AS_A_MODULE, packages: bool = False
) -> AsyncGenerator[OldGuide]:
    """It runs from ``root``, where nothing is but the worker's own folder; its model is not loaded yet."""
    folder = root / "workers/old_guide"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if packages:
        (folder / "__init__.py").touch()
        (folder.parent / "__init__.py").touch()
    log_path = root / "model.log"
    async with (
        FakeEngine(mtoken="m") as engine,
        FakeModel(log_path=log_path, health_path="/healthcheck") as model,
    ):
        env = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log_path), "PYTHONPATH": str(ROOT)}
        async with WorkerProcess(command, engine=engine, env=env, cwd=root) as process:
            await process.answers("/ping", status=200)
            async with aiohttp.ClientSession(process.url) as http:
                yield OldGuide(model, engine, process, http)


@pytest.mark.parametrize("packages", [False, True], ids=["folders", "packages"])
@pytest.mark.parametrize("command", [AS_A_MODULE, BY_PYWORKER], ids=["python_m", "pyworker_run"])
async def test_it_answers_and_streams(tmp_path: Path, command: tuple[str, ...], packages: bool) -> None:
    async with old_guide(tmp_path, command=command, packages=packages) as worker:
        await worker.ready()
        worker.model.on("/generate", answer({"response": "Paris."}))
        worker.model.on("/generate_stream", stream(["data: Pa\n\n", "data: ris.\n\n"]))
        assert await worker.post("/generate", ASKED) == (200, b'{"response": "Paris."}')
        assert await worker.post("/generate_stream", ASKED) == (200, b"data: Pa\n\ndata: ris.\n\n")
        generate, generate_stream = worker.model.requests[-2:]
        assert generate.json() == {**ASKED, "from": "the handler"}
        assert generate_stream.json() == ASKED
        worker.process.terminate()
        assert await worker.process.ended() == 0


async def test_it_is_measured_as_its_benchmark_handler_says(tmp_path: Path) -> None:
    async with old_guide(tmp_path) as worker:
        await worker.ready()
        prompts = [request.json()["prompt"] for request in worker.model.requests]
        assert len(prompts) == 1 + 3 * 10
        assert len(set(prompts)) == len(prompts)
        assert {len(prompt.split()) for prompt in prompts} == {256}
        report = await worker.engine.reports.where(lambda report: report.state == "ready")
        assert report.max_perf


async def test_its_own_routes_answer(tmp_path: Path) -> None:
    async with old_guide(tmp_path) as worker:
        for healthy, status in ((True, 200), (False, 503)):
            worker.model.healthy = healthy
            async with worker.http.get("/healthcheck") as response:
                assert (response.status, await response.json(content_type=None)) == (status, {"ok": healthy})
        async with worker.http.get("/ping") as response:
            assert await response.text() == "pong"
        assert (await worker.post("/generate", ASKED))[0] == 503


async def test_what_its_parser_misses_is_a_422(tmp_path: Path) -> None:
    async with old_guide(tmp_path) as worker:
        await worker.ready()
        missing = b'{"payload":{"prompt":"missing parameter","max_response_tokens":"missing parameter"}}'
        assert await worker.post("/generate", {}) == (422, missing)
        assert await worker.post("/generate", {**ASKED, "unknown": 1}) == (200, b'{"text": "hello"}')


async def test_the_models_errors_keep_their_status_and_count_as_errors(tmp_path: Path) -> None:
    async with old_guide(tmp_path) as worker:
        await worker.ready()
        for route in ("/generate", "/generate_stream"):
            worker.model.on(route, answer({"detail": "no"}, status=418))
            assert await worker.post(route, ASKED) == (418, b"")
        assert [request.status for request in await worker.engine.finished.at_least(2)] == ["Error", "Error"]


async def test_its_log_actions_count(tmp_path: Path) -> None:
    async with old_guide(tmp_path) as worker:
        worker.model.log('{"message":"Download 10%"}')
        await worker.process.output.where(lambda line: 'model: {"message":"Download 10%"}' in line)
        await worker.ready()
        worker.model.healthy = False
        worker.model.log("Exception: corrupted model file")
        report = await worker.engine.reports.where(lambda report: report.error_msg)
        assert report.error_msg == "Exception: corrupted model file"
        assert (await worker.post("/generate", ASKED))[0] == 503


async def test_a_root_logger_that_its_author_set_up_is_left_alone(tmp_path: Path) -> None:
    """It shows its own lines at DEBUG, and none of ours or of libraries twice."""
    async with old_guide(tmp_path) as worker:
        await worker.ready()
        await worker.post("/generate", ASKED)
        await worker.process.output.where(lambda line: "[DEBUG] SUCCESS" in line)
        ours = [line for line in worker.process.output if "the worker is ready" in line]
        assert len(ours) == 1
        assert not any(ASKED["prompt"] in line for line in worker.process.output)
