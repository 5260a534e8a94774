"""What a provider does with a supervisor: start it, signal it, end what it left. Each call blocks, briefly."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pyworker.instance.folder import Folder

__all__ = ["Spawned", "end_leftovers", "reap", "reap_soon", "send", "spawn"]

_MARK: Final = "PYWORKER_STATE_DIR"  # by which a process is known for an instance's, whatever has become of its parent
_GONE_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.01

_children: dict[int, Path] = {}  # supervisors that this process started, by pid, until they are reaped


class Spawned(NamedTuple):
    """A supervisor that was started. ``started_fd`` says STARTED when its processes are, and closes when it fails.

    One that is tied ends when ``tie_fd`` is closed.
    """

    started_fd: int
    tie_fd: int | None


def spawn(folder: Folder, environment: Mapping[str, str], *, tied: bool = False) -> Spawned:
    """Start the supervisor of a folder that holds its order. Raises OSError.

    It has a session of its own, so that neither Ctrl-C nor our end reaches it, unless it is ``tied`` to us.
    """
    folder.forget_pid()
    command = [sys.executable, "-P", "-m", "pyworker.instance", str(folder.path), *(["--tied"] if tied else [])]
    started_fd, its_output = os.pipe()
    its_input, tie_fd = os.pipe() if tied else (os.open(os.devnull, os.O_RDONLY), None)
    actions = [
        (os.POSIX_SPAWN_DUP2, its_input, 0),
        (os.POSIX_SPAWN_DUP2, its_output, 1),
        (os.POSIX_SPAWN_OPEN, 2, str(folder.supervisor_log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    try:
        pid = os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True, setsigmask=[])
    except OSError:
        for fd in (started_fd, tie_fd):
            if fd is not None:
                os.close(fd)
        raise
    finally:
        os.close(its_input)
        os.close(its_output)
    _children[pid] = folder.path
    return Spawned(started_fd, tie_fd)


def send(folder: Folder, number: signal.Signals) -> None:
    """Signal the supervisor if there is one."""
    while (pid := folder.supervisor_pid()) == 0:  # it has only just begun
        time.sleep(_LOOK_AGAIN_S)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def reap() -> None:
    """Let go of the supervisors of this process that have ended."""
    for pid in tuple(_children):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            ended = True
        if ended:
            _children.pop(pid, None)


def reap_soon(folder: Folder) -> None:
    """The same, for a supervisor that has let go of its lock already: its process ends in a moment."""
    until_s = time.monotonic() + _GONE_S
    reap()
    while folder.path in _children.values() and time.monotonic() < until_s:
        time.sleep(_LOOK_AGAIN_S)
        reap()


def end_leftovers(folder: Folder) -> None:
    """Kill what a supervisor that was killed itself has left behind, and wait for its end."""
    if sys.platform != "linux":
        _end_groups(folder)
        return
    until_s = time.monotonic() + _GONE_S
    while (pids := _marked(folder)) and time.monotonic() < until_s:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN_S)


def _marked(folder: Folder) -> list[int]:
    """The processes whose environment names the folder."""
    mark = f"{_MARK}={folder.state}".encode()
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _end_groups(folder: Folder) -> None:
    for group in folder.read_numbers("groups").values():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    folder.forget_numbers("groups")
