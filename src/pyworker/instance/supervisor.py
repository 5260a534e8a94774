"""Watches over the two processes of one instance: starts them, and when one ends or it is asked to, ends the other.

SIGTERM: the worker drains, then the model server ends. SIGQUIT: both end at once. With ``tied``, the end of whoever
holds the other end of standard input counts as SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pyworker.instance import logs, ports, processes
from pyworker.instance.folder import Folder
from pyworker.instance.order import FAILED, STOPPED, Ended, Order
from pyworker.instance.processes import Child, LaunchFailed
from pyworker.instance.surroundings import (
    Chosen,
    logs_by_itself,
    model_environment,
    redacted,
    secrets_in,
    worker_environment,
)

__all__ = ["DRAIN_MARGIN_S", "GRACE_S", "STARTED", "run"]

STARTED: Final = b"started\n"  # to whoever waits at standard output
GRACE_S: Final = 10.0  # from SIGTERM to SIGKILL, for whoever has nothing to finish
DRAIN_MARGIN_S: Final = 5.0  # a worker that drains ends by itself within its limit and a little
BURY_S: Final = 5.0  # for a killed process to be gone; one that hangs in the kernel takes longer
LOOK_AGAIN_S: Final = 10.0  # at the logs, and whether the folder is still there

_SHOWN_LINES: Final = 5
_SHOWN_CHARS: Final = 300
_RUNS_ALREADY: Final = 3


def run(path: Path, environment: Mapping[str, str], *, tied: bool) -> int:
    """Be the supervisor of the instance in ``path`` until it has ended: 0, or 3 when there is another."""
    folder = Folder(path)
    wakeup = Wakeup(tied=tied)
    if not folder.lock():
        return _RUNS_ALREADY
    processes.adopt_orphans()
    order = folder.read_order()
    supervisor = Supervisor(folder, order, wakeup)
    ended = supervisor.run(environment)
    secrets = secrets_in(order.environment)
    lines = [redacted(line, secrets) for line in ended.lines]
    if folder.is_locked_here():
        folder.write_ended(ended._replace(reason=redacted(ended.reason, secrets), lines=lines))
    return 0


class Wakeup:
    """What a supervisor waits for: signals, and the end of the process that it is tied to."""

    def __init__(self, *, tied: bool) -> None:
        self.stop = False  # it was asked to end
        self.at_once = False
        self._read_fd, write_fd = os.pipe()
        for fd in (self._read_fd, write_fd):
            os.set_blocking(fd, False)
        self._fds = [self._read_fd, 0] if tied else [self._read_fd]
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
            signal.signal(number, _do_nothing)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def wait(self, wait_s: float) -> None:
        """Until something happens, or the time is over."""
        ready, _, _ = select.select(self._fds, [], [], max(0.0, wait_s))
        if 0 in ready and not os.read(0, 4096):
            self._fds.remove(0)
            self.stop = True
        with contextlib.suppress(BlockingIOError):
            numbers = set(os.read(self._read_fd, 4096))
            self.at_once |= signal.SIGQUIT in numbers
            self.stop |= self.at_once or bool(numbers & {signal.SIGTERM, signal.SIGINT})


class Supervisor:
    """One run of an instance."""

    def __init__(self, folder: Folder, order: Order, wakeup: Wakeup) -> None:
        self._folder = folder
        self._order = order
        self._wakeup = wakeup
        self._children: list[Child] = []  # the worker last
        self._logs = [folder.model_log, folder.model_output, folder.worker_log]

    def run(self, environment: Mapping[str, str]) -> Ended:
        """Start, watch, end: how it went."""
        try:
            self._start(environment)
        except (LaunchFailed, OSError) as error:
            ended = Ended(FAILED, str(error))
        else:
            _tell_started()
            ended = self._watch()
        return self._end(ended)

    def _start(self, environment: Mapping[str, str]) -> None:
        folder, order = self._folder, self._order
        chosen = self._choose()
        logs.rotate(*self._logs)
        if order.model is not None:
            output = folder.model_output if logs_by_itself(order) else folder.model_log
            env = model_environment(order, chosen, environment)
            self._start_one("model server", order.model, chosen, env, output, "model")
        env = worker_environment(order, chosen, environment)
        self._start_one("worker", order.worker, chosen, env, folder.worker_log, "worker")
        folder.write_numbers("groups", {child.what: child.pid for child in self._children})

    def _start_one(
        self, what: str, command: Sequence[str], chosen: Chosen, env: Mapping[str, str], log: Path, field: str
    ) -> None:
        filled = [chosen.fill(text) for text in command]
        cwd = chosen.fill(self._order.working_directory)
        self._children.append(processes.start(what, filled, env=env, cwd=cwd, log=log, field=field))

    def _choose(self) -> Chosen:
        """The ports of the last run when they are free: the worker's address and its benchmark's score stay good."""
        folder = self._folder
        names = ("worker_port", "worker_http_port", "model_port")
        chosen = ports.choose(names, folder.read_numbers("ports"))
        folder.write_numbers("ports", chosen)
        return Chosen(str(folder.path), sys.executable, str(folder.model_log), str(folder.state), **chosen)

    def _watch(self) -> Ended:
        """Until one ends by itself, or it is asked to end."""
        while True:
            self._wakeup.wait(LOOK_AGAIN_S)
            processes.reap(self._children)
            gone = next((child for child in self._children if child.status is not None), None)
            if self._wakeup.stop or not self._folder.is_locked_here():  # or nobody can find it any more
                return Ended(STOPPED)
            if gone is not None:
                return self._failure(gone)
            logs.bound(*self._logs)

    def _failure(self, gone: Child) -> Ended:
        assert gone.status is not None
        lines = _shown(gone.log)
        if not lines and gone.what == "model server":
            lines = _shown(self._folder.model_log)
        said = f"; its last lines: {' | '.join(lines)}" if lines else "; it wrote nothing"
        return Ended(FAILED, f"the {gone.what} {_how(gone.status)}{said}", gone.what, gone.status, time.time(), lines)

    def _end(self, ended: Ended) -> Ended:
        """The worker first, so that it can finish what is in flight; then the model server; then what they left."""
        asked = ended.state == STOPPED
        killed: list[str] = []
        for child in reversed(self._children):
            drains = asked and child.what == "worker"
            if not self._end_one(child, self._order.drain_s + DRAIN_MARGIN_S if drains else GRACE_S):
                killed.append(child.what)
        processes.end_orphans()
        if asked and killed and not self._wakeup.at_once:
            return ended._replace(reason=f"the {' and the '.join(killed)} did not end in time and had to be killed")
        return ended

    def _end_one(self, child: Child, wait_s: float) -> bool:
        """Whether it ended without being killed."""
        if child.status is None:
            child.signal(signal.SIGTERM)
            self._until_gone(child, wait_s)
        by_itself = child.status is not None
        child.signal(signal.SIGKILL)  # and what it left of its group
        self._until_gone(child, BURY_S, even_at_once=True)
        return by_itself

    def _until_gone(self, child: Child, wait_s: float, *, even_at_once: bool = False) -> None:
        until_s = time.monotonic() + wait_s
        while True:
            processes.reap(self._children)
            left_s = until_s - time.monotonic()
            if child.status is not None or left_s <= 0 or (self._wakeup.at_once and not even_at_once):
                return
            self._wakeup.wait(left_s)


def _do_nothing(_number: int, _frame: object) -> None:
    """The wakeup's pipe has it already."""


def _tell_started() -> None:
    with contextlib.suppress(OSError):  # nobody waits any more
        os.write(1, STARTED)
    os.dup2(2, 1)


def _shown(log: Path) -> list[str]:
    return logs.last_lines(log, _SHOWN_LINES, max_chars=_SHOWN_CHARS)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (was the machine out of memory?)" if -status == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"
