"""Watches over the two processes of one instance: starts them, and when one ends or it is asked to, ends the other.

SIGTERM: the worker drains, then the model server ends. SIGQUIT: both end at once. With ``tied``, the end of whoever
holds the other end of standard input counts as SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pyworker.instance import logs, ports, processes
from pyworker.instance.folder import Folder
from pyworker.instance.order import FAILED, STOPPED, Ended, Order
from pyworker.instance.processes import SHOWN_CHARS, SHOWN_LINES, Child, LaunchFailed
from pyworker.instance.surroundings import (
    Chosen,
    logs_by_itself,
    model_environment,
    redacted,
    secrets_in,
    worker_environment,
)
from pyworker.instance.wakeup import DRAIN_MARGIN_S, GRACE_S, Wakeup, end_one

__all__ = ["STARTED", "run"]

STARTED: Final = b"started\n"  # to whoever waits at standard output
LOOK_AGAIN_S: Final = 10.0  # at the logs, and whether the folder is still there

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
        _say_how(folder, ended._replace(reason=redacted(ended.reason, secrets), lines=lines))
    return 0


def _say_how(folder: Folder, ended: Ended) -> None:
    """How it ended; where that cannot be written down, in the supervisor's log, which has room sometimes."""
    try:
        folder.write_ended(ended)
    except OSError as error:
        with contextlib.suppress(OSError):
            words = ended.reason or "it has ended as it was asked to"
            sys.stderr.write(f"{words} (that could not be written down: {error.strerror})\n")
            sys.stderr.flush()


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
            logs.begin(folder.model_log)
            output = folder.model_output if logs_by_itself(order) else folder.model_log
            env = model_environment(order, chosen, environment)
            self._start_one("model server", order.model, chosen, env, output, "launch.model")
        env = worker_environment(order, chosen, environment)
        self._start_one("worker", order.worker, chosen, env, folder.worker_log, "launch.worker")
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
        lines = logs.last_lines(gone.log, SHOWN_LINES, max_chars=SHOWN_CHARS)
        if not lines and gone.what == "model server":
            lines = logs.last_lines(self._folder.model_log, SHOWN_LINES, max_chars=SHOWN_CHARS)
        return Ended(FAILED, gone.how_it_ended(lines), gone.what, gone.status, time.time(), lines)

    def _end(self, ended: Ended) -> Ended:
        """The worker first, so that it can finish what is in flight; then the model server; then what they left."""
        asked = ended.state == STOPPED
        killed: list[str] = []
        for child in reversed(self._children):
            drains = asked and child.what == "worker"
            wait_s = self._order.drain_s + DRAIN_MARGIN_S if drains else GRACE_S
            if not end_one(child, self._children, self._wakeup, wait_s):
                killed.append(child.what)
        processes.end_orphans()
        if asked and killed and not self._wakeup.at_once:
            return ended._replace(reason=f"the {' and the '.join(killed)} did not end in time and had to be killed")
        return ended


def _tell_started() -> None:
    with contextlib.suppress(OSError):  # nobody waits any more
        os.write(1, STARTED)
    os.dup2(2, 1)
