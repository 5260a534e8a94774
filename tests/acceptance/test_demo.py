"""`make demo`, as a real process: what it shows, what it leaves, how it ends; and that README shows the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks
from tests.support.leftovers import require_no_processes
from tests.support.tiny_model import write_tiny_model

pytestmark = pytest.mark.limit_s(150)

DEMO = [sys.executable, "-m", "workers.hello_world.demo"]
COMMANDS = re.compile(r"^  ((?:export|curl|\S+/pyworker|\S+/python) .*?)\r?$", re.MULTILINE)


class Screen:
    """The demo on a terminal, and what stands there."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.text = ""
        self._master: int | None = master
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
        assert self._master is not None
        try:
            self.text += os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other side has closed
            self.close()
        self._grew.set()

    def close(self) -> None:
        """Nothing is read any more; the terminal is gone."""
        if self._master is not None:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
        self._master = None

    def hang_up(self) -> None:
        """As when its window is closed."""
        self.close()
        self.process.send_signal(signal.SIGHUP)


@contextlib.asynccontextmanager
async def on_a_terminal(tmp_path: Path, *options: str, command: Sequence[str] = DEMO) -> AsyncGenerator[Screen]:
    master, slave = pty.openpty()
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = await asyncio.create_subprocess_exec(
        *command, *options, cwd=ROOT, env=_env(tmp_path), start_new_session=True, **streams
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


async def elsewhere(tmp_path: Path, *options: str) -> tuple[int | None, str]:
    """Exit status and output of a demo whose output is a pipe."""
    process = await asyncio.create_subprocess_exec(
        *DEMO, *options, cwd=ROOT, env=_env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def _env(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "500"}


def _folders(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("pyworker-demo-*"))


def _require_nothing_left(tmp_path: Path) -> None:
    assert _folders(tmp_path) == []
    require_no_processes(marked_by=tmp_path)


async def test_elsewhere_it_asks_a_real_model_two_questions_and_ends_well_as_readme_shows(tmp_path: Path) -> None:
    status, output = await elsewhere(tmp_path)
    assert status == 0, output
    assert len(re.findall(r"^> .+\n.*\w", output, re.MULTILINE)) == 2, output
    _require_nothing_left(tmp_path)
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if block.check == "demo"]
    assert _shape(output) == _shape(shown)


async def test_a_second_worker_comes_when_one_has_too_much_to_do_and_the_log_says_why(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    status, output = await elsewhere(tmp_path, "--model", str(model))
    assert status == 0, output
    if "is left out" in output:
        pytest.skip("this machine is too busy to show it")
    assert re.search(r"create a worker: .* wants [\d.e+]+/s, active", output), output
    assert "worker 2 is IDLE" in output
    assert re.search(r"requests answered: \d+ by worker 1, \d+ by worker 2", output), output


async def test_on_a_terminal_it_stays_up_its_commands_work_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with on_a_terminal(tmp_path, "--model", str(model)) as screen:
        text = await screen.shows("Up until Ctrl-C.")
        commands = COMMANDS.findall(text)
        (load_test,) = [command for command in commands if "test_load" in command]
        (follow,) = [command for command in commands if "--follow" in command]
        plain = [command for command in commands if command not in {load_test, follow}]
        status, output = await _run("set -e; " + "; ".join([*plain, follow.removesuffix(" --follow")]))
        assert status == 0, output
        assert "worker 1 is IDLE" in output
        status, output = await _run(f"{commands[0]}; {load_test}")
        assert "sent        10" in output  # and got 400s: 250 words are too many for the tiny model
        screen.process.send_signal(signal.SIGINT)
        assert await screen.process.wait() == 0
    _require_nothing_left(tmp_path)


async def test_two_demos_run_side_by_side(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    ended = await asyncio.gather(*(elsewhere(tmp_path, "--model", str(model)) for _ in range(2)))
    assert [status for status, _ in ended] == [0, 0], ended


async def test_a_part_that_does_not_come_up_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but not really")
    status, output = await elsewhere(tmp_path, "--model", str(broken))
    assert status == 1
    assert "worker 1 has failed" in output
    assert "The end of workers/1/logs/model.log:" in output
    assert "Exception: corrupted model file" in output
    (folder,) = _folders(tmp_path)
    assert f"All logs are in {folder}" in output
    require_no_processes(marked_by=tmp_path)


async def test_an_engine_that_dies_while_it_is_up_ends_the_demo_and_leaves_no_worker(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with on_a_terminal(tmp_path, "--model", str(model)) as screen:
        await screen.shows("Up until Ctrl-C.")
        os.kill(_pid_of("pyworker.cli", parent=screen.process.pid), signal.SIGKILL)
        assert await screen.process.wait() == 1
        assert "the engine ended with status -9" in screen.text
    require_no_processes(marked_by=tmp_path)


async def test_a_worker_that_dies_while_it_is_up_is_seen_in_the_log_that_the_demo_shows(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with on_a_terminal(tmp_path, "--model", str(model)) as screen:
        await screen.shows("Up until Ctrl-C.")
        (folder,) = _folders(tmp_path)
        os.kill(_pid_of_worker(folder, 1), signal.SIGKILL)
        await screen.shows("worker 1 is ERROR")


async def test_it_ends_when_its_terminal_is_closed_under_a_make_that_only_waits(tmp_path: Path) -> None:
    """The hang-up reaches the session's leader alone."""
    model = write_tiny_model(tmp_path / "tiny.gguf")
    leader = tmp_path / "leader.sh"
    leader.write_text(f"trap '' HUP\n{' '.join(DEMO)} --model {model} &\nwait $!\necho $? > {tmp_path}/ended\n")
    async with on_a_terminal(tmp_path, command=["bash", str(leader)]) as screen:
        await screen.shows("Up until Ctrl-C.")
        screen.close()
        await screen.process.wait()
    assert (tmp_path / "ended").read_text() == "0\n"
    _require_nothing_left(tmp_path)


async def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    async with on_a_terminal(tmp_path) as screen:
        await screen.shows("worker 1")
        screen.process.send_signal(signal.SIGINT)
        assert await screen.process.wait() == 130
    _require_nothing_left(tmp_path)


async def test_it_ends_when_its_terminal_hangs_up(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with on_a_terminal(tmp_path, "--model", str(model)) as screen:
        await screen.shows("worker 1")
        screen.hang_up()
        assert await screen.process.wait() == 130
    _require_nothing_left(tmp_path)


async def test_it_ends_when_nobody_reads_what_it_shows(tmp_path: Path) -> None:
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *DEMO, cwd=ROOT, env=_env(tmp_path), stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    _, said = await process.communicate()
    assert (process.returncode, said) == (130, b"")
    _require_nothing_left(tmp_path)


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
        pytest.skip("needs /proc, to find the demo's engine")
    pids = [int(pid) for pid in children.read_text().split()]
    return next(pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text())


def _pid_of_worker(folder: Path, worker_id: int) -> int:
    return int(json.loads((folder / "workers" / str(worker_id) / "groups.json").read_text())["worker"])


def _shape(output: str) -> list[str]:
    """What does not change from run to run: no numbers, no steps in between, none of the model's words."""
    lines = [re.sub(r"[\d.]+ s\b|:\d+|\d+", "N", line).strip() for line in output.splitlines()]
    lines = [re.sub(r"API_KEY=\S+|\S+/pyworker-demo-\w+|\S+/bin/", "...", line) for line in lines]
    known = ("POST ", "> ", "export ", "...", "curl ", "To try", "What `", "Logs and", "(N tokens")
    return [line for line in lines if line.startswith(known) or " ready at " in line]
