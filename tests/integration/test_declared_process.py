"""A declared worker as a process: run, run_async, signals, and a start that fails."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import aiohttp
import pytest

from pyworker import Worker, WorkerConfig
from pyworker.testing import FakeEngine, FakeModel, WorkerProcess, by_hand
from pyworker.testing.server import free_port

ROOT = Path(__file__).parents[2]

MADE = """
import asyncio, os
from aiohttp import web
from pyworker import HandlerConfig, Worker, WorkerConfig

worker = Worker(
    WorkerConfig(
        model_server_url=os.environ["MODEL_SERVER_URL"], handlers=[HandlerConfig(route="/g")], fixed_throughput=1e6
    )
)
"""
RUN = "worker.run()"
RUN_ASYNC = "asyncio.run(worker.run_async())"
CANCELLED = """
async def main():
    serving = asyncio.create_task(worker.run_async())
    async def stop(_):
        serving.cancel()
        return web.Response()
    worker.routes.append(web.post("/stop", stop))
    try:
        await serving
    except asyncio.CancelledError:
        print("cancelled")
asyncio.run(main())
"""


def write(folder: Path, *parts: str) -> str:
    file = folder / "worker.py"
    file.write_text("".join(textwrap.dedent(part) for part in parts))
    return str(file)


@pytest.mark.parametrize("end", [RUN, RUN_ASYNC], ids=["run", "run_async"])
async def test_it_serves_until_it_is_asked_to_end_and_finishes_what_is_in_flight(tmp_path: Path, end: str) -> None:
    async with FakeModel() as model, FakeEngine() as engine:
        model.on("/g", by_hand)
        env = {"MODEL_SERVER_URL": model.url, "PYWORKER_STATE_DIR": str(tmp_path)}
        async with (
            WorkerProcess([write(tmp_path, MADE, end)], engine=engine, env=env, cwd=ROOT) as process,
            aiohttp.ClientSession() as http,
        ):
            await process.ready()
            body = engine.envelope(engine.sign(process.url), {"a": 1})
            asking = asyncio.create_task(http.post(process.url + "/g", json=body))
            request = await model.requests.next()
            process.terminate()
            await process.output.where(lambda line: "finishing what is in flight" in line)
            await request.answer({"done": True})
            async with await asking as answered:
                assert await answered.json() == {"done": True}
            assert await process.ended() == 0


@pytest.mark.parametrize(
    ("end", "path", "status", "said"),
    [
        (CANCELLED, "/stop", 0, "cancelled"),
        (RUN_ASYNC, "/pyworker/update", 75, "finishing what is in flight"),
        (RUN, "/pyworker/update", 75, "finishing what is in flight"),
    ],
    ids=["cancelled", "update, async", "update"],
)
async def test_it_ends_otherwise_too(tmp_path: Path, end: str, path: str, status: int, said: str) -> None:
    async with FakeModel() as model:
        env = {"MODEL_SERVER_URL": model.url, "PYWORKER_STATE_DIR": str(tmp_path)}
        async with (
            WorkerProcess([write(tmp_path, MADE, end)], env=env, cwd=ROOT) as process,
            aiohttp.ClientSession() as http,
        ):
            await process.ready()
            await http.post(process.url + path)
            assert await process.ended() == status
            assert any(said in line for line in process.output)


MISTAKES = {
    "keyword": ("HandlerConfig(rout='/g')", "did you mean 'route'?"),
    "value": ("HandlerConfig(route='/g', max_queue_time='soon')", "max_queue_time is 'soon'"),
    "dataset": ("BenchmarkConfig(dataset=[])", "dataset is empty"),
    "no model": ("Worker(WorkerConfig()).run()", "set MODEL_SERVER_URL"),
    "no model, async": ("import asyncio; asyncio.run(Worker(WorkerConfig()).run_async())", "set MODEL_SERVER_URL"),
}


@pytest.mark.parametrize(("code", "said"), MISTAKES.values(), ids=MISTAKES)
async def test_the_engine_hears_why_a_worker_cannot_start(tmp_path: Path, code: str, said: str) -> None:
    """Fault 34."""
    start = "from pyworker import BenchmarkConfig, HandlerConfig, Worker, WorkerConfig\n"
    async with FakeEngine(mtoken="the-mtoken") as engine:
        async with WorkerProcess([write(tmp_path, start, code)], engine=engine, cwd=ROOT) as process:
            assert await process.ended() == 1
        report = await engine.reports.next()
        assert said in (report.error_msg or "")
        assert len(engine.reports) == 1


async def test_a_start_that_fails_inside_a_loop_does_not_block_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYWORKER_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("WORKER_PORT", str(free_port()))
    async with FakeEngine() as engine:
        place = {"REPORT_ADDR": engine.url, "CONTAINER_ID": "5", "MASTER_TOKEN": "m", "PUBLIC_IPADDR": "127.0.0.1"}
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            await Worker(WorkerConfig()).run_async()
        assert ended.value.code == 1
        assert (await engine.reports.next()).error_msg
