"""The pages of the workers for images and for TGI: their commands start what they say, their tables are complete."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest

from pyworker.engine.deployment import load
from pyworker.testing import WorkerProcess, free_port
from tests.docs.pages import ROOT, Block, blocks
from tests.support.worker_rig import model_process

NAMES = ["comfyui", "image", "tgi"]
LISTENS = {
    "comfyui": "To see the GUI go to: ",
    "image": "the image model answers on ",
    "tgi": "text_generation_router: Connected ",
}
KINDS = ("options", "up", "model server", "worker")


def page_of(name: str) -> Path:
    return ROOT / "workers" / name / "README.md"


def marked(name: str, check: str) -> list[Block]:
    return [block for block in blocks(page_of(name)) if block.check.startswith(check)]


@pytest.mark.parametrize("name", NAMES)
def test_every_block_of_code_says_how_it_is_checked(name: str) -> None:
    assert [str(block) for block in blocks(page_of(name)) if not block.check.startswith(KINDS)] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_pyworker_up_is_given_is_a_whole_deployment(name: str) -> None:
    commands = marked(name, "up")
    assert commands
    for block in commands:
        *assigned, pyworker, up, target = shlex.split(block.text)
        assert (pyworker, up) == ("pyworker", "up")
        environment = dict(word.split("=", 1) for word in assigned)
        assert load(ROOT / target, environment).groups


@pytest.mark.parametrize("name", NAMES)
def test_every_deployment_is_on_the_page(name: str) -> None:
    files = {path.name for path in (ROOT / "workers" / name).glob("*.toml")}
    shown = {Path(shlex.split(block.text)[-1]).name for block in marked(name, "up")}
    assert files == {"deployment.toml" if not file.endswith(".toml") else file for file in shown}


@pytest.mark.parametrize("name", NAMES)
async def test_the_commands_by_hand_start_model_and_worker(name: str, tmp_path: Path) -> None:
    (server,) = marked(name, "model server")
    (by_hand,) = marked(name, "worker")
    python, dash_m, module, dash_port, port, arrow, log = shlex.split(server.text)
    assert (python, dash_m, dash_port, arrow) == ("python", "-m", "--port", ">")
    env = dict(re.findall(r"(\w+)=(\S+)", by_hand.text))
    assert env["MODEL_SERVER_URL"].endswith(f":{port}")
    assert env["MODEL_LOG"] == log
    _, *command = shlex.split(by_hand.text.splitlines()[-1])
    async with model_process(module, LISTENS[name]) as (_, url):
        model_log = tmp_path / "model.log"
        await asyncio.to_thread(model_log.write_text, f"{LISTENS[name]}{url}\n")
        env |= {"MODEL_SERVER_URL": url, "MODEL_LOG": str(model_log), "WORKER_PORT": str(free_port())}
        async with WorkerProcess(command, env=env) as worker:
            await worker.ready()


@pytest.mark.parametrize("name", NAMES)
async def test_the_clients_commands_have_options_that_exist(name: str) -> None:
    commands = marked(name, "options")
    assert len(commands) == 2
    for block in commands:
        python, *command = shlex.split(block.text.replace("$API_KEY", ""))
        assert python == "python"
        async with WorkerProcess(command) as process:
            assert await process.ended() == 1  # a wrong option is 2, and said before a missing key
            assert ["no API key" in line for line in process.output] == [True]


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_its_code_reads_is_on_its_page(name: str) -> None:
    code = "".join(path.read_text() for path in (ROOT / "workers" / name).glob("*.py"))
    read = set(re.findall(r'environ\.get\("(\w+)"', code)) | set(re.findall(r'"(S3_\w+)"', code))
    table = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page_of(name).read_text()))
    assert read
    assert read - {"WORKER_PORT"} <= table


@pytest.mark.parametrize("name", NAMES)
def test_every_route_is_on_its_page(name: str) -> None:
    server = (ROOT / "workers" / name / "server.py").read_text()
    routes = set(re.findall(r'web\.post\("([^"]+)"', server)) | set(
        re.findall(r'PassThroughHandler\("([^"]+)"', server)
    )
    shown = set(re.findall(r"\| `(?:POST|GET) (\S+)` \|", page_of(name).read_text()))
    assert routes
    assert routes <= shown


def test_every_worker_is_in_the_table_of_workers() -> None:
    table = (ROOT / "docs" / "reference" / "workers.md").read_text()
    folders = {path.parent.name for path in (ROOT / "workers").glob("*/README.md")}
    assert folders == set(re.findall(r"\]\(\.\./\.\./workers/(\w+)/README\.md\)", table))
