"""`pyworker new` makes folders that run, test themselves and pass a dry run; and writes over nothing."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyworker.engine.deployment import load
from pyworker.scaffold.naming import suggestion
from pyworker.scaffold.rendering import STYLES, render
from pyworker.scaffold.servers import SERVERS
from pyworker.scaffold.writing import write_folder
from tests.support.commands import PYWORKER, Ended, running
from tests.support.planted.dry_runs import DryRuns

ALL = list(itertools.product(STYLES, SERVERS))
EACH_ONCE = list(zip(itertools.cycle(STYLES), SERVERS, strict=False))  # takes long
WITHOUT_OUR_PYTHON = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"}
RUFF = Path(sys.executable).parent / "ruff"
RULES = "B,E,F,I,PIE,RET,RUF,SIM,UP,W"


async def new(*arguments: str) -> Ended:
    async with running(*PYWORKER, "new", *arguments) as process:
        return await process.ended()


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own
        command, cwd=folder, text=True, capture_output=True, timeout=100, check=False, env=WITHOUT_OUR_PYTHON
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_worker_is_as_ruff_would_have_it_and_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    with DryRuns.opened() as dry_runs:
        for style, server in ALL:
            folder = tmp_path / style / server
            folder.parent.mkdir(exist_ok=True)
            write_folder(folder, render("my_worker", style, server))
            run(folder, str(RUFF), "check", "--isolated", "--line-length=120", f"--select={RULES}", ".")
            run(folder, str(RUFF), "format", "--isolated", "--line-length=120", "--check", ".")
            report = dry_runs.check(str(folder))
            assert (report.findings, len(report.checked)) == ([], 5)


@pytest.mark.limit_s(120)
@pytest.mark.parametrize(("style", "server"), EACH_ONCE)
async def test_a_new_worker_tests_itself(style: str, server: str, tmp_path: Path) -> None:
    made = await new("my_worker", "--style", style, "--server", server, "--into", str(tmp_path))
    assert made.status == 0, made.err
    folder = tmp_path / "my_worker"
    run(folder, "make", "test")
    for script in ("client.py", "test_load.py"):
        run(folder, sys.executable, "-W", "error", script, "--help")


@pytest.mark.parametrize(("style", "server"), ALL)
def test_its_deployment_is_one(style: str, server: str, tmp_path: Path) -> None:
    for path, text in render("my_worker", "subclass" if style == "subclass" else "declarative", server).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    deployment = load(tmp_path / "deployment.toml", os.environ)
    assert deployment.name == "my_worker"


def test_a_model_that_is_started_elsewhere_is_named_where_the_worker_hears_of_it() -> None:
    assert 'MODEL_SERVER_URL = "http://127.0.0.1:5001"' in render("chat", "declarative", "custom")["deployment.toml"]


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/opt/venv/bin/python", "$(or $(wildcard /opt/venv/bin/python),python3)"),
        ("/my files/$HOME/python", "python3"),
        ("python3", "python3"),
    ],
)
def test_its_makefile_takes_the_python_that_made_it_where_that_is_there(python: str, said: str) -> None:
    assert f"\nPYTHON ?= {said}\n" in render("chat", "declarative", "custom", python=python)["Makefile"]


async def test_the_command_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    made = await new("chat", "--into", str(tmp_path))
    lines = made.out.splitlines()
    assert {line.strip() for line in lines[1 : lines.index("")]} == {
        str(path.relative_to(tmp_path / "chat")) for path in (tmp_path / "chat").rglob("*") if path.is_file()
    }
    assert lines[-2:] == [f"  cd {tmp_path / 'chat'}", "  make test"]


async def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "worker.py").write_text("mine")
    again = await new("chat", "--into", str(tmp_path))
    assert (again.status, "is there already" in again.err) == (1, True)
    assert [path.read_text() for path in (tmp_path / "chat").iterdir()] == ["mine"]


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = await new("chat", "--into", str(tmp_path / "file"))
    assert (ended.status, "--into" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("my-worker", "my_worker"),
        ("2fast", "worker_2fast"),
        ("class", "worker_class"),
        ("../x", "x"),
        ("Ümlaut !", "mlaut"),
        ("", "my_worker"),
    ],
)
async def test_a_name_that_cannot_be_imported_is_refused_with_one_that_can(
    name: str, instead: str, tmp_path: Path
) -> None:
    ended = await new("--into", str(tmp_path), "--", name)
    assert (ended.status, f"'{instead}'" in ended.err) == (2, True)
    assert suggestion(name) == instead
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("arguments", [("--style", "functional"), ("--server", "vllm")])
async def test_styles_and_servers_are_chosen_from(arguments: tuple[str, str], tmp_path: Path) -> None:
    ended = await new("chat", "--into", str(tmp_path), *arguments)
    assert ended.status == 2
    assert "is not one of" in ended.err
