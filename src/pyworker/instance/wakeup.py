"""What a process waits for that watches over others, and how it ends them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Final

from pyworker.instance import processes
from pyworker.instance.processes import Child

__all__ = ["DRAIN_MARGIN_S", "GRACE_S", "Wakeup", "end_one"]

GRACE_S: Final = 10.0  # from SIGTERM to SIGKILL, for whoever has nothing to finish
DRAIN_MARGIN_S: Final = 5.0  # a worker that drains ends by itself within its limit and a little
BURY_S: Final = 5.0  # for a killed process to be gone; one that hangs in the kernel takes longer


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


def end_one(child: Child, children: Sequence[Child], wakeup: Wakeup, wait_s: float) -> bool:
    """SIGTERM, and SIGKILL after ``wait_s``, for one of ``children`` and its group: whether it ended without that."""
    if child.status is None:
        child.signal(signal.SIGTERM)
        _until_gone(child, children, wakeup, wait_s)
    by_itself = child.status is not None
    child.signal(signal.SIGKILL)  # and what it left of its group
    _until_gone(child, children, wakeup, BURY_S, even_at_once=True)
    return by_itself


def _until_gone(
    child: Child, children: Sequence[Child], wakeup: Wakeup, wait_s: float, *, even_at_once: bool = False
) -> None:
    until_s = time.monotonic() + wait_s
    while True:
        processes.reap(children)
        left_s = until_s - time.monotonic()
        if child.status is not None or left_s <= 0 or (wakeup.at_once and not even_at_once):
            return
        wakeup.wait(left_s)


def _do_nothing(_number: int, _frame: object) -> None:
    """The wakeup's pipe has it already."""
