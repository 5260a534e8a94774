"""The tutorial's code is the worker's code, and its commands run."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeModel, WorkerProcess, free_port, stream
from tests.docs.pages import ROOT, Block, blocks
from tests.support.tiny_model import write_tiny_model
from workers.hello_world.data_types import InputData

FOLDER = ROOT / "workers" / "hello_world"
PAGE = FOLDER / "README.md"
ALL = list(blocks(PAGE))


def marked(check: str) -> list[Block]:
    return [block for block in ALL if block.check == check]


def the(check: str) -> str:
    """The text of the one block that is marked so."""
    (block,) = marked(check)
    return block.text


# --- code -----------------------------------------------------------------------------------------


def test_every_block_says_how_it_is_checked() -> None:
    kinds = ("part of ", "options ", "asked", "model server", "worker", "curl")
    assert [block.line for block in ALL if block.language != "text" and not block.check.startswith(kinds)] == []


@pytest.mark.parametrize("name", ["data_types.py", "server.py", "client.py", "test_load.py"])
def test_the_code_is_that_of_the_file(name: str) -> None:
    code = (FOLDER / name).read_text()
    parts = marked(f"part of {name}")
    assert parts
    assert [block.line for block in parts if block.text not in code + "\n"] == []


@pytest.mark.parametrize("name", ["data_types.py", "server.py", "test_load.py"])
def test_nothing_of_the_file_is_left_out(name: str) -> None:
    shown = "".join(block.text for block in marked(f"part of {name}"))
    assert lines(shown) == lines(without_docstring((FOLDER / name).read_text()))


def lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line]


def without_docstring(code: str) -> str:
    return re.sub(r'\A""".*?"""\n', "", code, count=1, flags=re.DOTALL)


def test_the_request_it_shows_is_one() -> None:
    data = InputData.from_json_msg(json.loads(the("asked")))
    assert (data.prompt, data.max_response_tokens) == ("What is the capital of France?", 60)


# --- commands -------------------------------------------------------------------------------------


async def test_the_model_servers_command_starts_it(tmp_path: Path) -> None:
    python, *command = shlex.split(the("model server"))
    port, log_path = free_port(), tmp_path / "model.log"
    assert python == "python"
    command[command.index("5001")] = str(port)
    command[command.index("/tmp/hello_world.log")] = str(log_path)  # noqa: S108 - what the page says
    model = await asyncio.to_thread(write_tiny_model, tmp_path / "tiny.gguf")
    async with WorkerProcess([*command, "--model", str(model), "--threads", "1"]) as process:
        line = await process.output.where(lambda line: "the model answers on" in line, wait_s=25.0)
        async with aiohttp.ClientSession() as http, http.get(f"{line.split()[-1]}/healthcheck") as response:
            assert (response.status, response.url.port) == (200, port)


async def test_the_workers_commands_start_it_and_the_curl_command_is_answered(tmp_path: Path) -> None:
    env = dict(re.findall(r"(\w+)=(\S+)", the("worker")))
    python, *command = shlex.split(the("worker").splitlines()[-1])
    url, body = curl(the("curl"))
    assert python == "python"
    assert env["MODEL_LOG"] in the("model server")
    assert url.startswith(f"http://127.0.0.1:{env['WORKER_PORT']}/")
    log_path, port = tmp_path / "model.log", free_port()
    async with FakeModel(log_path=log_path, health_path="/healthcheck") as model:
        model.on("/generate_stream", stream(['data: {"token": "Paris"}\n\n']))
        model.log("infer server has started")
        env |= {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log_path), "WORKER_PORT": str(port)}
        async with WorkerProcess(command, env=env) as worker, aiohttp.ClientSession() as http:
            await worker.ready()
            async with http.post(url.replace(":3000/", f":{port}/"), data=body) as response:
                assert (response.status, await response.text()) == (200, 'data: {"token": "Paris"}\n\n')


def curl(command: str) -> tuple[str, str]:
    """URL and body of ``curl -N URL -d BODY``."""
    program, option, url, data, body = shlex.split(command)
    assert (program, option, data) == ("curl", "-N", "-d")
    return url, body


@pytest.mark.parametrize("module", ["workers.hello_world.client", "workers.hello_world.test_load"])
async def test_the_clients_commands_have_options_that_exist(module: str) -> None:
    python, *command = shlex.split(the(f"options {module}").replace("$API_KEY", ""))
    assert python == "python"
    async with WorkerProcess(command) as process:
        assert await process.ended() == 1  # a wrong option is 2, and said before a missing key
        assert ["no API key" in line for line in process.output] == [True]


async def test_the_model_servers_options_are_all_described() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "workers.hello_world.model_server", "--help", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    printed, _ = await process.communicate()
    described = PAGE.read_text().partition("| option | default | |")[2].partition("\n\n")[0]
    assert set(re.findall(r"--\w+", described)) == set(re.findall(r"--\w+", printed.decode())) - {"--help"}
