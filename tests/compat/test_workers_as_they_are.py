"""Workers in the forms that people write, unmodified, where nothing but pyworker is installed."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from pyworker.loading import load
from pyworker.testing import FakeEngine, FakeModel, WorkerProcess
from tests.support.alone import python_alone
from tests.support.sdk import needs_sdk, sdk_site

WORKERS = Path(__file__).with_name("workers")
RUN = "from pyworker.cli import main; main()"
PINGED = {"guide", "older", "sdk_lib", "from_vastai_sdk"}
SENT = {"guide": {"inputs": "Hello you", "n": 100}, "older": {"inputs": "Hello you", "by": "the handler"}}


NAMES = sorted(path.name for path in WORKERS.iterdir())


@pytest.mark.parametrize("name", NAMES)
async def test_a_worker_becomes_ready_and_answers(name: str, tmp_path: Path) -> None:
    await becomes_ready_and_answers(name, tmp_path)


@needs_sdk
@pytest.mark.parametrize("name", [name for name in NAMES if "vastai" in name])
async def test_it_is_served_by_us_where_the_real_package_is_installed_too(name: str, tmp_path: Path) -> None:
    await becomes_ready_and_answers(name, tmp_path, str(sdk_site()))


async def becomes_ready_and_answers(name: str, tmp_path: Path, *path: str) -> None:
    log = tmp_path / "model.log"
    log.write_text("loaded\n")
    async with FakeModel(log_path=log) as model, FakeEngine() as engine:
        env = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log), "PYWORKER_STATE_DIR": str(tmp_path / "state")}
        command = [*python_alone(tmp_path, RUN, *path), "run", str(WORKERS / name)]
        process = WorkerProcess(command, engine=engine, env=env, cwd=tmp_path)
        async with process, aiohttp.ClientSession(process.url) as http:
            await process.ready()
            if name in PINGED:
                async with http.get("/ping") as answered:
                    assert await answered.text() == "pong"
            envelope = engine.envelope(engine.sign(process.url), {"prompt": "Hello you"})
            async with http.post("/generate", json=envelope) as answered:
                assert (answered.status, await answered.json(content_type=None)) == (200, {"text": "hello"})
            assert model.requests[-1].json() == SENT.get(name, {"inputs": "Hello you"})
            process.terminate()
            assert await process.ended() == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_looked_at_without_serving(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MODEL_LOG", str(tmp_path / "model.log"))
    with load(str(WORKERS / name)) as loaded:
        assert "/generate" in {route.path for route in loaded.routes if isinstance(route, web.RouteDef)}
        assert loaded.backend.mounts
