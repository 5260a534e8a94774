"""A dry run from outside: in a process of its own and with a time limit, for the worker's files may do anything."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pyworker.checking.findings import fault
from pyworker.errors import ConfigurationError
from pyworker.wire_check import CheckLine, CheckReport, Finding, parse_line

__all__ = ["check"]


def check(
    target: str, *, env: Mapping[str, str], limit_s: float, answer: Any = None, call_remote: bool = False
) -> CheckReport:
    """All that a dry run of the worker finds.

    Args:
        target: as `pyworker run` takes it.
        env: the environment that the worker gets.
        limit_s: after so long the process is ended; what was found until then is kept.
        answer: what the model answers, as JSON; None for a made-up answer.
        call_remote: call remote functions, too.

    Raises ConfigurationError when there is no such target.
    """
    report = CheckReport(target=target, faults=0, warnings=0, findings=[], checked=[], not_checked=[])
    wanted = msgspec.json.encode({"answer": answer, "call_remote": call_remote}).decode()
    ended, began_s = False, time.monotonic()
    for line in _lines(target, wanted, env, limit_s):
        if line.not_understood is not None:
            raise ConfigurationError(line.not_understood)
        _note(report, line)
        ended = ended or line.ended
    if not ended:
        report.findings.append(_cut_off(report, limit_s, is_slow=time.monotonic() - began_s >= limit_s))
        report.not_checked.append("all that comes after that")
    report.faults = sum(finding.level == "fault" for finding in report.findings)
    report.warnings = len(report.findings) - report.faults
    return report


def _note(report: CheckReport, line: CheckLine) -> None:
    if line.begins is not None:
        report.checked.append(line.begins)
    if line.finding is not None:
        report.findings.append(line.finding)
    if line.not_checked is not None:
        report.not_checked.append(line.not_checked)


def _cut_off(report: CheckReport, limit_s: float, *, is_slow: bool) -> Finding:
    step = report.checked.pop() if report.checked else "the beginning"
    if is_slow:
        what = f"it took more than {limit_s:g} s at this step: {step}"
        remedy = "find the loop or the wait without an end; if it is only slow, give --timeout"
    else:
        what = f"the process ended by itself at this step: {step}"
        remedy = "find what ends it there: sys.exit, os._exit, or a library that crashes"
    return fault("cut-off", report.target, what, remedy)


def _lines(target: str, wanted: str, env: Mapping[str, str], limit_s: float) -> Iterator[CheckLine]:
    """What the child tells, until its end, the last line or the limit. Nothing that it started is left."""
    read_fd, write_fd = os.pipe()
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, read_fd)
        try:
            child = subprocess.Popen(  # noqa: S603 - this Python, and a target that the user names
                [sys.executable, "-m", "pyworker.checking", str(write_fd), target, wanted],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(env),
                pass_fds=(write_fd,),
                start_new_session=True,
            )
        finally:
            os.close(write_fd)
        opened.callback(_end, child)
        yield from _read(read_fd, time.monotonic() + limit_s)


def _read(fd: int, until_s: float) -> Iterator[CheckLine]:
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while selector.select(max(0.0, until_s - time.monotonic())):
            piece = os.read(fd, 65536)
            *lines, rest = (rest + piece).split(b"\n")
            yield from filter(None, map(parse_line, lines))
            if not piece:
                return


def _end(child: subprocess.Popen[bytes]) -> None:
    """The child and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
