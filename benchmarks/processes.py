"""Processes that the benchmark starts, each in a group of its own, on one core, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Processes", "Running", "StartError", "free_port", "listens", "wait_until"]

_PINNED = Path(__file__).with_name("pinned.py")
_GRACE_S = 3.0


class StartError(Exception):
    """A process ended, or did not come up in time; the message holds the end of its log."""


class Running:
    """A started process, leader of its group; what it says goes to ``log``."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @property
    def group(self) -> int:
        """Its process group, which holds its children too."""
        return self.process.pid

    def failed(self, why: str) -> StartError:
        """The error that says so, with the last lines of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            tail = file.read().decode(errors="replace")
        return StartError(f"{self.name} {why}; the end of its log:\n{tail}")


class Processes:
    """Starts processes; on leaving the ``with`` block every group is ended, first politely, then not."""

    def __init__(self) -> None:
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running:
            _signal(running.group, signal.SIGTERM)
        for running in list(self._running):
            self.stop(running)

    def start(
        self, name: str, command: Sequence[str], *, core: int, env: Mapping[str, str], cwd: Path, log: Path
    ) -> Running:
        """Start ``command`` on ``core`` with this environment besides PATH and HOME."""
        base = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 (our own commands)
                [sys.executable, str(_PINNED), str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**base, **env},
                cwd=cwd,
                start_new_session=True,
            )
        running = Running(name, process, log)
        self._running.append(running)
        return running

    def stop(self, running: Running) -> None:
        """End one process and its group; returns when it is gone."""
        _signal(running.group, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(_GRACE_S)
        _signal(running.group, signal.SIGKILL)
        running.process.wait()
        self._running.remove(running)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def wait_until(done: Callable[[], bool], running: Running, what: str, *, limit_s: float = 30.0) -> None:
    """Poll until ``done()``. Raises StartError when the process ends before, or the limit passes."""
    deadline_s = time.monotonic() + limit_s
    while not done():
        if running.process.poll() is not None:
            raise running.failed(f"ended with status {running.process.returncode} before {what}")
        if time.monotonic() > deadline_s:
            raise running.failed(f"took more than {limit_s:.0f} s until {what}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port that was free a moment ago, and the next one too (workers open both)."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
