"""Starting and ending the processes of an instance, so that none is ever left.

Each is the leader of a process group, and dies with its supervisor, however that ends (Linux). What it starts and lets
go of becomes the supervisor's child (Linux), which ends it at the last.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pyworker.instance.logs import for_nobody_else

__all__ = ["SHOWN_CHARS", "SHOWN_LINES", "Child", "LaunchFailed", "adopt_orphans", "end_orphans", "reap", "start"]

SHOWN_LINES: Final = 5  # of the log of a process that ended
SHOWN_CHARS: Final = 300  # of each

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class LaunchFailed(Exception):
    """A process could not be started, or ended by itself; the message says why and what to do."""


class Child:
    """One process, the leader of its group. ``status`` is None while it runs, below 0 for a signal."""

    def __init__(self, what: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.what = what
        self.log = log
        self.pid = process.pid
        self._process = process

    @property
    def status(self) -> int | None:
        """Its exit status, below 0 for a signal; None while it runs."""
        return self._process.returncode

    def how_it_ended(self, lines: Sequence[str]) -> str:
        """In words, with the last lines that it wrote."""
        said = f"; its last lines: {' | '.join(lines)}" if lines else "; it wrote nothing"
        return f"the {self.what} {_how(self.status or 0)}{said}"

    def note_end(self, status: int) -> None:
        """It was reaped."""
        self._process.returncode = status

    def signal(self, number: signal.Signals) -> None:
        """To it and all in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the second is macOS's word for a dead group
            os.killpg(self.pid, number)


def start(
    what: str, command: Sequence[str], *, env: Mapping[str, str], cwd: str, log: Path | None, field: str
) -> Child:
    """Start a process with its output in ``log``, or where ours goes.

    Raises LaunchFailed, naming the ``field`` that it comes from.
    """
    if cwd and not os.path.isdir(cwd):
        raise LaunchFailed(f"launch.working_directory {cwd!r} is no folder: make it, or name another")
    if not command:
        raise LaunchFailed(f"{field} is empty: give the command of the {what}")
    try:
        with contextlib.nullcontext() if log is None else open(log, "ab", opener=for_nobody_else) as output:
            process = subprocess.Popen(  # noqa: S603 - it is what we are for
                list(command),
                env=dict(env),
                cwd=cwd or None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509 - there is one thread only
            )
    except (OSError, ValueError) as error:
        raise LaunchFailed(_why(what, command[0], field, error)) from None
    return Child(what, process, log or Path(os.devnull))


def _why(what: str, program: str, field: str, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        remedy = f"give its full path in {field}, or put its folder into PATH"
        return f"the {what}'s command {program!r} was not found: {remedy}"
    if isinstance(error, PermissionError):
        return f"the {what}'s command {program!r} may not be executed: chmod +x, or name another in {field}"
    return f"the {what} cannot be started ({program!r}, {field}): {error}"


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (was the machine out of memory?)" if -status == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"


def reap(children: Sequence[Child]) -> None:
    """Note which have ended, and let go of orphans that have."""
    by_pid = {child.pid: child for child in children}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in by_pid:
                by_pid[pid].note_end(os.waitstatus_to_exitcode(status))


def adopt_orphans() -> None:
    """Be the parent of whatever the children start and let go of."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Kill every child that there is, and those that come to light by it."""
    while pids := _own_children():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _own_children() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def _dies_with(parent: int) -> Callable[[], None] | None:
    """Run between fork and exec. Nothing is imported or loaded there: what it calls was looked up before."""
    prctl = _prctl
    if prctl is None:
        return None

    def set_up() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before it was said
            os._exit(1)

    return set_up


def _find_prctl() -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return None


_prctl = _find_prctl()
