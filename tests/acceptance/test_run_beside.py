"""`pyworker run` with --reload and --model-command: real processes, and none is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess
from tests.support.instances import runs, until_gone

ROOT = Path(__file__).parents[2]
MODEL = f"{sys.executable} {ROOT / 'tests' / 'support' / 'model_program.py'} {{model_port}}"
WORKER = """
import os
from aiohttp import web
from pyworker import Backend, PassThroughHandler, start_server
from word import WORD

backend = Backend(log_actions=[], fixed_throughput=1.0)

async def word(_):
    return web.Response(text=WORD)

routes = backend.routes(*map(PassThroughHandler, ("/generate", "/die", "/slow")))
start_server(backend, [*routes, web.get("/word", word)])
"""
RUN = ["-m", "pyworker.cli", "run"]


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """Its folder."""
    folder = tmp_path / "crew" / "one"
    folder.mkdir(parents=True)
    (folder / "worker.py").write_text(WORKER)
    (folder / "word.py").write_text("WORD = 'first'\n")
    return folder


async def word(process: WorkerProcess) -> str:
    async with aiohttp.ClientSession(process.url) as http, http.get("/word") as answered:
        return await answered.text()


def below(pid: int) -> list[int]:
    """All its processes."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *below(int(child))]
    return found


async def test_a_changed_file_takes_over_and_a_broken_one_does_not(worker: Path, tmp_path: Path) -> None:
    async with FakeModel() as model:
        command = [*RUN, str(worker), "--reload"]
        async with WorkerProcess(command, env={"MODEL_SERVER_URL": model.url}, cwd=tmp_path) as process:
            await process.ready()
            assert await word(process) == "first"
            (worker / "word.py").write_text("WORD = 'second'\nWORD.nothing\n")
            await process.output.where(lambda line: "word.py, line 2: AttributeError" in line and "serves on" in line)
            assert await word(process) == "first"
            (worker / "word.py").write_text("WORD = 'third'\n")
            await third(process)
            process.terminate()
            assert await process.ended() == 0


async def third(process: WorkerProcess) -> None:
    """Wait until the changed worker has taken over."""
    while True:
        await process.ready()
        try:
            if await word(process) == "third":
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.02)  # one has ended, the other begins


async def test_the_first_change_of_a_file_elsewhere_is_seen_though_the_worker_prints_at_its_end(
    worker: Path, tmp_path: Path
) -> None:
    shared = worker.parent / "common"
    shared.mkdir()
    (shared / "util.py").write_text("WORD = 'first'\n")
    bye = "import atexit\natexit.register(lambda: print('bye'))\n"
    (worker / "word.py").write_text(f"{bye}from common.util import WORD\n")
    async with FakeModel() as model:
        command = [*RUN, str(worker), "--reload"]
        async with WorkerProcess(command, env={"MODEL_SERVER_URL": model.url}, cwd=tmp_path) as process:
            await process.ready()
            while len(below(process.pid)) > 2:  # noqa: ASYNC110 - a process looks for its files
                await asyncio.sleep(0.02)
            (shared / "util.py").write_text("WORD = 'second'\nWORD.nothing\n")
            await process.output.where(lambda line: "util.py, line 2: AttributeError" in line and "serves on" in line)
            (shared / "util.py").write_text("WORD = 'third'\n")
            await third(process)


async def test_a_worker_that_is_broken_from_the_start_begins_with_the_change_that_mends_it(
    worker: Path, tmp_path: Path
) -> None:
    (worker / "word.py").write_text("WORD = \n")
    async with FakeModel() as model:
        command = [*RUN, str(worker), "--reload"]
        async with WorkerProcess(command, env={"MODEL_SERVER_URL": model.url}, cwd=tmp_path) as process:
            await process.output.where(lambda line: "word.py, line 1: SyntaxError" in line)
            await process.output.where(lambda line: "waiting for a change" in line)
            (worker / "word.py").write_text("WORD = 'mended'\n")
            await process.ready()
            assert await word(process) == "mended"


async def test_the_model_server_is_started_logged_to_a_file_and_ended_after_the_worker(
    worker: Path, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "the-model.log"
    command = [*RUN, str(worker), "--model-command", MODEL, "--model-log", str(log)]
    async with FakeEngine() as engine, WorkerProcess(command, engine=engine, cwd=tmp_path) as process:
        await process.ready()
        pids = below(process.pid)
        assert len(pids) == 3  # the watcher, the model server, the worker
        async with aiohttp.ClientSession(process.url) as http:
            envelope = engine.envelope(engine.sign(process.url), {"prompt": "Hello"})
            async with http.post("/generate", json=envelope) as answered:
                assert await answered.json() == {"text": "hello"}
        assert "model loaded" in log.read_text()
        process.terminate()
        assert await process.ended() == 0
        assert not any(runs(pid) for pid in pids)


async def test_what_is_in_flight_is_finished_before_the_model_server_ends(worker: Path, tmp_path: Path) -> None:
    began, go_on = tmp_path / "began", tmp_path / "go on"
    command = [*RUN, str(worker), "--model-command", MODEL]
    env = {"PYWORKER_STATE_DIR": str(tmp_path / "state")}
    async with FakeEngine() as engine, WorkerProcess(command, engine=engine, env=env, cwd=tmp_path) as process:
        await process.ready()
        async with aiohttp.ClientSession(process.url) as http:
            envelope = engine.envelope(engine.sign(process.url), {"began": str(began), "go_on": str(go_on)})
            asked = asyncio.create_task(answer_of(http, "/slow", envelope))
            while not began.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
            process.terminate()
            await engine.reports.where(lambda report: report.state == "draining")
            go_on.touch()
            assert await asked == (200, {"text": "hello"})
        assert await process.ended() == 0


async def answer_of(http: aiohttp.ClientSession, path: str, envelope: object) -> tuple[int, object]:
    async with http.post(path, json=envelope) as answered:
        return answered.status, await answered.json()


@pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="we were started to outlive a terminal")
async def test_a_terminal_that_is_closed_ends_it(worker: Path, tmp_path: Path) -> None:
    async with FakeModel() as model:
        command = [*RUN, str(worker), "--reload"]
        async with WorkerProcess(command, env={"MODEL_SERVER_URL": model.url}, cwd=tmp_path) as process:
            await process.ready()
            os.kill(process.pid, signal.SIGHUP)
            assert await process.ended() == 0


async def test_a_model_server_that_ends_ends_the_worker_and_the_engine_hears_why(worker: Path, tmp_path: Path) -> None:
    command = [*RUN, str(worker), "--model-command", MODEL]
    env = {"PYWORKER_STATE_DIR": str(tmp_path / "state"), "PYWORKER_DRAIN_S": "1"}
    async with FakeEngine() as engine, WorkerProcess(command, engine=engine, env=env, cwd=tmp_path) as process:
        await process.ready()
        async with aiohttp.ClientSession(process.url) as http:
            envelope = engine.envelope(engine.sign(process.url), {"prompt": "Hello"})
            async with http.post("/die", json=envelope) as answered:
                assert answered.status == 502
        assert await process.ended() == 1
        told = "the model server ended with status 3; its last lines: model loaded | out of memory, says the model"
        assert any(told in line for line in process.output)
        assert told in (engine.reports[-1].error_msg or "")
        assert "out of memory" in (tmp_path / "state" / "model.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are found on Linux only")
@pytest.mark.parametrize("which", ["the runner", "its watcher"])
async def test_nothing_is_left_when_it_is_killed(which: str, worker: Path, tmp_path: Path) -> None:
    helper = tmp_path / "helper.pid"
    command = [*RUN, str(worker), "--model-command", f"{MODEL} --helper {helper}"]
    env = {"PYWORKER_STATE_DIR": str(tmp_path / "state"), "PYWORKER_DRAIN_S": "1"}
    async with WorkerProcess(command, env=env, cwd=tmp_path) as process:
        await process.ready()
        pids = [*below(process.pid), int(helper.read_text())]
        os.kill(process.pid if which == "the runner" else pids[0], 9)
        await until_gone(*pids)
        assert await process.ended() in {-9, 137}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--model-command", "a-program-that-nobody-has"], "'a-program-that-nobody-has' was not found: give its full"),
        (["--model-command", "vllm 'serve"], "--model-command cannot be taken apart"),
        (["--model-command", "CUDA_VISIBLE_DEVICES=0 vllm serve"], "no shell reads it: put `env` before it"),
        (["--model-command", "vllm serve 2>&1 | tee log"], "--model-command holds '2>&1', and no shell reads it"),
        (["--model-command", " "], "--model-command is empty"),
        (["--model-log", "x.log"], "--model-log says where the output of --model-command goes"),
    ],
)
async def test_what_cannot_be_is_told(options: list[str], told: str, worker: Path, tmp_path: Path) -> None:
    env = {"PYWORKER_STATE_DIR": str(tmp_path / "state")}
    async with (
        FakeEngine() as engine,
        WorkerProcess([*RUN, str(worker), *options], engine=engine, env=env, cwd=tmp_path) as process,
    ):
        assert await process.ended() == 1
        assert any(told in line for line in process.output)
        if "--model-command" in options:
            assert told in (engine.reports[-1].error_msg or "")
