"""`make demo`, as a real process: what it shows, what it leaves, how it ends; and that README shows the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.support.tiny_model import write_tiny_model

pytestmark = pytest.mark.limit_s(150)

DEMO = [sys.executable, "-m", "workers.hello_world.demo"]
COMMANDS = re.compile(r"^  ((?:export|curl|\S+/pyworker|\S+/python) .*?)\r?$", re.MULTILINE)


class Screen:
    """The demo on a terminal, and what stands there."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.text = ""
        self._master = master
        self._grew = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    async def shows(self, words: str) -> str:
        """All that stands there, once ``words`` are part of it."""
        while words not in self.text:
            assert self.process.returncode is None, self.text
            self._grew.clear()
            await self._grew.wait()
        return self.text

    def _read(self) -> None:
        try:
            self.text += os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other side has closed
            self.close()
        self._grew.set()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)


@contextlib.asynccontextmanager
async def on_a_terminal(tmp_path: Path, *options: str) -> AsyncGenerator[Screen]:
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *DEMO, *options, cwd=ROOT, env=_env(tmp_path), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    screen = Screen(process, master)
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        screen.close()
        os.close(master)


async def elsewhere(tmp_path: Path, *options: str) -> tuple[int | None, str]:
    """Exit status and output of a demo whose output is a pipe."""
    process = await asyncio.create_subprocess_exec(
        *DEMO, *options, cwd=ROOT, env=_env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def _env(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "200"}


def _folders(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("pyworker-demo-*"))


async def test_elsewhere_it_asks_a_real_model_two_questions_and_ends_well_as_readme_shows(tmp_path: Path) -> None:
    status, output = await elsewhere(tmp_path)
    assert status == 0, output
    assert len(re.findall(r"^> .+\n.*\w", output, re.MULTILINE)) == 2, output
    assert _folders(tmp_path) == []
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if block.check == "demo"]
    assert _shape(output) == _shape(shown)


async def test_on_a_terminal_it_stays_up_its_commands_work_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with on_a_terminal(tmp_path, "--model", str(model)) as screen:
        text = await screen.shows("Up until Ctrl-C.")
        commands = COMMANDS.findall(text)
        (load_test,) = [command for command in commands if "test_load" in command]
        status, output = await _run("set -e; " + "; ".join(command for command in commands if command != load_test))
        assert status == 0, output
        status, output = await _run(f"{commands[0]}; {load_test}")
        assert "sent        10" in output  # and got 400s: 250 words are too many for the tiny model
        screen.process.send_signal(signal.SIGINT)
        assert await screen.process.wait() == 0
    assert _folders(tmp_path) == []


async def test_two_demos_run_side_by_side(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    ended = await asyncio.gather(*(elsewhere(tmp_path, "--model", str(model)) for _ in range(2)))
    assert [status for status, _ in ended] == [0, 0]


async def test_a_part_that_does_not_come_up_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but not really")
    status, output = await elsewhere(tmp_path, "--model", str(broken))
    assert status == 1
    assert "the model server ended with status 1" in output
    assert "Exception: corrupted model file" in output
    (folder,) = _folders(tmp_path)
    assert f"All logs are in {folder}" in output


async def test_a_part_that_dies_while_it_is_up_ends_the_demo(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with on_a_terminal(tmp_path, "--model", str(model)) as screen:
        await screen.shows("Up until Ctrl-C.")
        os.kill(_pid_of("workers.hello_world.demo.worker", parent=screen.process.pid), signal.SIGKILL)
        assert await screen.process.wait() == 1
        assert "the worker ended with status -9" in screen.text


async def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    async with on_a_terminal(tmp_path) as screen:
        await screen.shows("model server")
        screen.process.send_signal(signal.SIGINT)
        assert await screen.process.wait() == 130
    assert _folders(tmp_path) == []


def test_make_demo_runs_this_demo() -> None:
    make = subprocess.run(["make", "-n", "demo"], cwd=ROOT, text=True, capture_output=True, check=True)  # noqa: S607
    assert ".venv/bin/python -m workers.hello_world.demo" in make.stdout


async def _run(command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def _pid_of(module: str, *, parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("needs /proc, to find the demo's worker")
    pids = [int(pid) for pid in children.read_text().split()]
    return next(pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text())


def _shape(output: str) -> list[str]:
    """What does not change from run to run: no numbers, no steps in between, none of the model's words."""
    lines = [re.sub(r"[\d.]+ s$|:\d+|\d+", "N", line).strip() for line in output.splitlines()]
    lines = [re.sub(r"API_KEY=\S+|\S+/pyworker-demo-\w+|\S+/bin/", "...", line) for line in lines]
    known = ("POST ", "> ", "export ", "...", "curl ", "To try", "A language", "Logs and", "(N tokens")
    return [line for line in lines if line.startswith(known) or " ready at " in line]
