"""The logs of an instance: begun anew at each start, with one older kept, and bounded while it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

__all__ = ["MAX_LOG_BYTES", "begin", "bound", "for_nobody_else", "last_lines", "rotate"]

MAX_LOG_BYTES: Final = 64 * 1024 * 1024
_TAIL_BYTES: Final = 256 * 1024


def older(path: Path) -> Path:
    """Where what the log held before is kept."""
    return path.with_name(path.name + ".1")


def rotate(*paths: Path) -> None:
    """A new run: what an earlier one wrote must not be taken for this one's."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.replace(older(path))


def begin(path: Path) -> None:
    """An empty log that nobody else may read, whatever mode its writer would give it: it may hold prompts."""
    os.close(for_nobody_else(str(path), os.O_WRONLY | os.O_CREAT))


def for_nobody_else(path: str, flags: int) -> int:
    """An ``opener``: a file that is made has the mode 0600."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def bound(*paths: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Copy a log that is too long away and empty it, in place because its writer holds it open."""
    for path in paths:
        with contextlib.suppress(OSError):  # it may not be there, and a full disk is what emptying it helps against
            if path.stat().st_size > max_bytes:
                with contextlib.suppress(OSError):
                    begin(older(path))
                    shutil.copyfile(path, older(path))
                os.truncate(path, 0)


def last_lines(path: Path, count: int, *, max_chars: int = 2000) -> list[str]:
    """The last lines, each cut to ``max_chars``; none when there is no such log."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.strip("\0\r") for line in text.split("\n")]
    return [line[:max_chars] for line in lines if line.strip()][-count:] if count > 0 else []
