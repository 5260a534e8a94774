"""The folder of an instance: what lies in it, and who may say what about it.

Providers and supervisors both use it. It needs nothing but the standard library, and its messages are here and not in
``wire.py``, so that a supervisor stays as small as an interpreter can be.

    instance.json     the order: what the supervisor starts; holds secrets, mode 0600
    supervisor.lock   locked while a supervisor lives, whose pid it holds: nothing else says that an instance runs
    ended.json        how the last run ended
    ports.json        the ports of the last run, taken again when they are free
    groups.json       the process groups of this run
    state/            the worker's own: its benchmark score
    logs/             model.log, worker.log, supervisor.log, and one older of each
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from pyworker.instance.logs import for_nobody_else
from pyworker.instance.order import Ended, Order

__all__ = ["Folder"]

_LOCK_WAIT_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.005

_T = TypeVar("_T")


class Folder:
    """An instance's folder at ``path``. Its methods block on the disk, briefly, and raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        self.logs = path / "logs"
        self.model_log = self.logs / "model.log"
        self.model_output = self.logs / "model.out"  # where the model server writes its log by itself
        self.worker_log = self.logs / "worker.log"
        self.supervisor_log = self.logs / "supervisor.log"
        self._lock = path / "supervisor.lock"
        self._locked_fd = -1

    def make(self) -> None:
        """Make what of it is missing, and the folder of all instances; nobody else may look into any of them."""
        for folder in (self.path.parent, self.path, self.state, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- what is told ---

    def read_order(self) -> Order:
        """The order. Raises ValueError when it is damaged."""
        return _as(Order, self._read("instance.json"))

    def write_order(self, order: Order) -> None:
        """Keep the order, readable by nobody else."""
        self._write("instance.json", order._asdict())

    def read_ended(self) -> Ended | None:
        """How the last run ended; None while there is one, and when it ended without a word."""
        try:
            return _as(Ended, self._read("ended.json"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def write_ended(self, ended: Ended) -> None:
        """Say how the run ended."""
        self._write("ended.json", ended._replace(at_s=ended.at_s or time.time())._asdict())

    def forget_ended(self) -> None:
        """A new run begins."""
        (self.path / "ended.json").unlink(missing_ok=True)

    def read_numbers(self, name: str) -> dict[str, int]:
        """``ports`` or ``groups`` of the last run; empty when they are not known."""
        with contextlib.suppress(OSError, ValueError):
            found = self._read(f"{name}.json")
            return {key: value for key, value in found.items() if isinstance(value, int)}
        return {}

    def write_numbers(self, name: str, numbers: dict[str, int]) -> None:
        """Keep ``ports`` or ``groups``."""
        self._write(f"{name}.json", numbers)

    def forget_numbers(self, name: str) -> None:
        """They are not true any more."""
        (self.path / f"{name}.json").unlink(missing_ok=True)

    def _read(self, name: str) -> dict[str, Any]:
        found = json.loads((self.path / name).read_bytes())
        if not isinstance(found, dict):
            raise ValueError(f"{name} holds no object")
        return cast("dict[str, Any]", found)

    def _write(self, name: str, message: dict[str, Any]) -> None:
        """Whole or not at all."""
        temporary = self.path / f"{name}.{os.getpid()}.new"
        try:
            with open(temporary, "w", opener=for_nobody_else, encoding="utf-8") as file:
                json.dump(message, file)
            temporary.replace(self.path / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    # --- whether it runs ---

    def supervisor_pid(self) -> int | None:
        """The supervisor that lives; None when there is none. 0: it has only just begun."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._opened() as fd:
            if not _take(fd, fcntl.LOCK_SH):
                text = os.pread(fd, 32, 0).strip()
                return int(text) if text.isdigit() else 0
        return None

    def forget_pid(self) -> None:
        """Before a new supervisor: nobody may take the pid of an earlier one for its."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._lock, 0)

    def lock(self) -> bool:
        """Be its supervisor until this process ends; False when there is another."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until_s = time.monotonic() + _LOCK_WAIT_S
        while not _take(fd, fcntl.LOCK_EX):  # those who only look hold it for a moment
            if time.monotonic() > until_s:
                os.close(fd)
                return False
            time.sleep(_LOOK_AGAIN_S)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._locked_fd = fd
        return True

    def is_locked_here(self) -> bool:
        """Whether the lock that was taken still is this folder's: not when somebody has removed it."""
        try:
            return os.path.samestat(self._lock.stat(), os.fstat(self._locked_fd))
        except OSError:
            return False

    @contextlib.contextmanager
    def _opened(self) -> Generator[int]:
        fd = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)


def _take(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise
        return False
    return True


def _as(type_: Callable[..., _T], found: dict[str, Any]) -> _T:
    try:
        return type_(**found)
    except TypeError as error:
        raise ValueError(str(error)) from None
