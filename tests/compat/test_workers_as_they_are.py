"""Workers in the forms that people write, unmodified, where nothing but pyworker is installed."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess
from tests.support.alone import python_alone

WORKERS = Path(__file__).with_name("workers")
RUN = "from pyworker.cli import main; main()"
SENT = {"guide": {"inputs": "Hello you", "n": 100}, "older": {"inputs": "Hello you", "by": "the handler"}}


@pytest.mark.parametrize("name", sorted(path.name for path in WORKERS.iterdir()))
async def test_a_worker_becomes_ready_and_answers(name: str, tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    log.write_text("loaded\n")
    async with FakeModel(log_path=log) as model, FakeEngine() as engine:
        env = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log), "PYWORKER_STATE_DIR": str(tmp_path / "state")}
        command = [*python_alone(tmp_path, RUN), "run", str(WORKERS / name)]
        process = WorkerProcess(command, engine=engine, env=env, cwd=tmp_path)
        async with process, aiohttp.ClientSession(process.url) as http:
            await process.ready()
            async with http.get("/ping") as answered:
                assert await answered.text() == "pong"
            envelope = engine.envelope(engine.sign(process.url), {"prompt": "Hello you"})
            async with http.post("/generate", json=envelope) as answered:
                assert (answered.status, await answered.json(content_type=None)) == (200, {"text": "hello"})
            assert model.requests[-1].json() == SENT.get(name, {"inputs": "Hello you"})
            process.terminate()
            assert await process.ended() == 0
