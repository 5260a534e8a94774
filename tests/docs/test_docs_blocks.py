"""The pages' code is run. A shell or Python block says how, in a comment before it:

- ``make``: each line is a target of the Makefile;
- ``file PATH``: a module, written to PATH in a scratch folder and imported there, with the page's others;
- ``pytest PATH``: a test, written and run there;
- ``worker PATH``: a worker, written and run there before a model, and asked a question;
- ``openai``: a worker and its client, before llama.cpp (tests/acceptance/test_openai_worker.py runs them);
- ``demo``: what `make demo` prints (tests/acceptance/test_demo.py runs it);
- ``by-hand``, ``by-hand up``: commands for terminals side by side (tests/acceptance/test_by_hand.py runs them);
- ``load``: load tests; each command line is one that there is;
- ``client``: programs that call an endpoint (tests/docs/test_client_page.py runs them);
- ``gateway``: calls of an engine that serves hello_world (tests/acceptance/test_gateway_page.py makes them).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess, answer
from tests.docs.pages import ROOT, Block, blocks, pages

OWN_PAGES = [page for page in pages() if not page.is_relative_to(ROOT / "workers")]  # those have tests of their own
ALL = [block for page in OWN_PAGES for block in blocks(page)]
CHECKS = {"make", "file", "pytest", "worker", "demo", "by-hand", "client", "gateway", "load", "openai"}


def _marked(check: str) -> list[Block]:
    return [block for block in ALL if block.check.split(" ")[0] == check]


def _write(block: Block, folder: Path) -> Path:
    path = folder / block.check.split(" ")[1]
    path.parent.mkdir(exist_ok=True)
    path.write_text(block.text)
    return path


def _python(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "MODEL_SERVER_URL": "http://127.0.0.1:9", "MODEL_LOG": str(folder / "model.log")}
    return subprocess.run(  # noqa: S603 - our own pages
        [sys.executable, *args], cwd=folder, env=env, text=True, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("block", [block for block in ALL if block.language in {"python", "shell"}], ids=str)
def test_a_block_of_code_says_how_it_is_checked(block: Block) -> None:
    assert block.check.split(" ")[0] in CHECKS


@pytest.mark.parametrize("block", _marked("make"), ids=str)
def test_every_target_that_a_page_names_is_in_the_makefile(block: Block) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    commands = [line.split("#")[0] for line in block.text.splitlines()]
    assert {word for command in commands for word in re.findall(r"make ([\w-]+)", command)} <= set(phony[1].split())


@pytest.mark.parametrize("page", sorted({block.page for block in _marked("file")}), ids=lambda page: page.name)
def test_the_modules_of_a_page_can_be_imported_together(page: Path, tmp_path: Path) -> None:
    written = [_write(block, tmp_path).relative_to(tmp_path) for block in _marked("file") if block.page == page]
    names = [".".join(path.with_suffix("").parts) for path in written]
    done = _python(tmp_path, "-W", "error", "-c", "\n".join(f"import {name}" for name in names))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for block in _marked("load") for line in block.text.splitlines()])
def test_every_load_test_that_a_page_shows_is_understood(line: str) -> None:
    """It gets as far as the engine, which is not there; the URL's server is not, either."""
    place = {"API_KEY": "k", "ENDPOINT_NAME": "hello", "PYWORKER_API_KEY": "k"}
    gone = "http://127.0.0.1:9"
    words = [os.path.expandvars(word) for word in shlex.split(line.replace("http://127.0.0.1:8000", gone))]
    words = [place.get(word.removeprefix("$"), word) for word in words]
    command = ["-m", "pyworker.cli", *words[1:]] if words[0] == "pyworker" else words[1:]
    engine = [] if "http://" in line else ["--engine", gone]
    done = subprocess.run(  # noqa: S603 - our own pages
        [sys.executable, *command, *engine],
        cwd=ROOT,
        env={**os.environ, **place},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"no engine answers|nothing answers", done.stderr)


@pytest.mark.parametrize("block", _marked("pytest"), ids=str)
def test_the_test_that_a_page_shows_passes(block: Block, tmp_path: Path) -> None:
    for other in _marked("file"):
        if other.page == block.page:
            _write(other, tmp_path)
    path = _write(block, tmp_path)
    done = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("block", _marked("worker"), ids=str)
async def test_the_worker_that_a_page_shows_answers(block: Block, tmp_path: Path) -> None:
    path = _write(block, tmp_path)
    log_path = tmp_path / "model.log"
    place = {"PYWORKER_STATE_DIR": str(tmp_path), "MODEL_LOG": str(log_path)}
    async with FakeModel(log_path=log_path, default=answer({"choices": [{"text": "Paris."}]})) as model:
        place["MODEL_SERVER_URL"] = model.url
        model.log("server is listening")
        module = ".".join(path.relative_to(tmp_path).with_suffix("").parts)
        async with FakeEngine() as engine:
            worker = WorkerProcess(["-m", module], engine=engine, env=place, cwd=tmp_path)
            async with worker, aiohttp.ClientSession() as session:
                await worker.ready()
                body = engine.envelope(engine.sign(worker.url), {"prompt": "The capital of France is"})
                async with session.post(f"{worker.url}/v1/completions", json=body) as reply:
                    assert (reply.status, await reply.json()) == (200, {"choices": [{"text": "Paris."}]})
