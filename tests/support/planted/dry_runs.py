"""Dry runs, each in a process of its own that is forked: what `pyworker check` does, but for the imports each time.

``python -m tests.support.planted.dry_runs`` reads a target a line, and writes its report a line, as JSON.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator

import msgspec

from pyworker.checking import __main__ as dry_run
from pyworker.checking.trials import Wanted
from pyworker.wire_check import CheckReport, parse_line

__all__ = ["DryRuns"]


class DryRuns:
    """A process that has imported all, and forks."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def check(self, target: str) -> CheckReport:
        """The same report as of ``pyworker.checking.run.check``; ended, as the limit of the test has it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(target.encode() + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=CheckReport)

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Generator[DryRuns]:
        """It ends with the ``with``."""
        command = [sys.executable, "-m", __name__]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()


def _report(target: str) -> CheckReport:
    report = CheckReport(target=target, faults=0, warnings=0, findings=[], checked=[], not_checked=[])
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if not child:
        os.close(read_fd)
        _quiet()
        dry_run.main(write_fd, target, Wanted())
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as lines:
        for line in filter(None, map(parse_line, lines)):
            report.checked += [] if line.begins is None else [line.begins]
            report.findings += [] if line.finding is None else [line.finding]
            report.not_checked += [] if line.not_checked is None else [line.not_checked]
    os.waitpid(child, 0)
    return report


def _quiet() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)


if __name__ == "__main__":
    for name in sys.stdin:
        sys.stdout.buffer.write(msgspec.json.encode(_report(name.strip())) + b"\n")
        sys.stdout.flush()
