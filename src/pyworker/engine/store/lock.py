"""One engine for one data directory."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pyworker.engine.store.failures import explained
from pyworker.errors import StoreInUse

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold this lock file; however the process ends, the system lets it go. Raises StoreInUse naming who has it.

    The file stays: whoever removed it could remove one that somebody else has just locked.
    """
    with explained(path):
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        with explained(path):
            _take(file, path)
        yield
    finally:
        os.close(file)


def _take(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
        raise StoreInUse(
            f"another engine uses {path.parent} ({holder}): stop it, or name another directory with --data-dir"
        ) from None
    os.ftruncate(file, 0)
    os.pwrite(file, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
