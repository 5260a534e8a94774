"""README's commands for terminals side by side, typed as they stand there, but on free ports.

Where a worker is started by hand the model server loads a tiny model, and a fake answers for it: measuring a real one
takes a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeModel, free_port, stream
from tests.docs.pages import ROOT, blocks
from tests.support.leftovers import require_no_processes
from tests.support.tiny_model import write_tiny_model


@pytest.mark.limit_s(120)
async def test_what_readme_says_to_type_works(tmp_path: Path) -> None:
    (text,) = [block.text for block in blocks(ROOT / "README.md") if block.check == "by-hand"]
    model = write_tiny_model(tmp_path / "tiny.gguf")
    ports = {default: str(free_port()) for default in ("5001", "8080", "3000")}
    model_server, engine, worker, client = _typed(text, ports, tmp_path).split("\n\n")
    place = {
        "PYWORKER_ENGINE": f"http://127.0.0.1:{ports['8080']}",
        "WORKER_PORT": ports["3000"],
        "WORKER_HOST": "127.0.0.1",
    }
    async with FakeModel(health_path="/healthcheck") as fake, contextlib.AsyncExitStack() as terminals:
        fake.on("/generate_stream", stream(['data: {"token": "A lighthouse"}\n\n']))
        model_server = model_server.replace("--log", f"--port {ports['5001']} --model {model} --log")
        await terminals.enter_async_context(_terminal(model_server, place))
        await _answers(f"http://127.0.0.1:{ports['5001']}/healthcheck")
        await terminals.enter_async_context(_terminal(f"{engine.split(' #')[0]} --port {ports['8080']}", place))
        await _answers(f"http://127.0.0.1:{ports['8080']}/health")
        await terminals.enter_async_context(_terminal(worker, {**place, "MODEL_SERVER_URL": fake.url}))
        await _answers(f"http://127.0.0.1:{ports['3000']}/pyworker/health")
        process = await asyncio.create_subprocess_exec(
            "bash", "-ec", client, cwd=ROOT, env=_env(place), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b'data: {"token": "A lighthouse"}' in output
    assert b'"ready":true' in output


@pytest.mark.limit_s(150)
async def test_the_deployment_runs_as_readme_says(tmp_path: Path) -> None:
    (text,) = [block.text for block in blocks(ROOT / "README.md") if block.check == "by-hand up"]
    engine, client = text.split("\n\n")
    port = free_port()
    place = {"PYWORKER_ENGINE": f"http://127.0.0.1:{port}", "XDG_STATE_HOME": str(tmp_path)}
    async with _terminal(f"{engine.split(' #')[0]} --port {port}", place):
        await _answers(f"http://127.0.0.1:{port}/health")
        process = await asyncio.create_subprocess_exec(
            "bash", "-ec", client, cwd=ROOT, env=_env(place), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    for words in ('"response":', "IDLE", "worker 1 is IDLE"):
        assert words in output.decode()
    require_no_processes(marked_by=tmp_path)


def _typed(text: str, ports: dict[str, str], folder: Path) -> str:
    for default, port in ports.items():
        text = re.sub(rf"(?<=[_:=]){default}\b", port, text)
    return text.replace("model.log", str(folder / "model.log"))


def _env(place: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **place, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@contextlib.asynccontextmanager
async def _terminal(command: str, place: dict[str, str]) -> AsyncGenerator[None]:
    """A shell that runs the command; both are gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-ec", command, cwd=ROOT, env=_env(place), stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


async def _answers(url: str) -> None:
    """Wait for a 200."""
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
