"""The model's log, line by line, from its beginning.

What a log does to its reader, all of it seen in the field: it does not exist yet, it is renamed or copied away and
emptied, it holds lines in pieces, lines without an end, bytes that are not text, or what an earlier run left behind.

A file is read with ``os.pread`` in a thread, one chunk a poll. Every read begins a little before the position and
checks that what stood there still does: that is how a file is noticed that was emptied and written anew in between.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import stat
import threading
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

__all__ = ["KEPT_LINES", "MAX_LINE_BYTES", "LogTail", "machine_start_s"]

MAX_LINE_BYTES: Final = 64 * 1024
KEPT_LINES: Final = 200
KEPT_CHARS: Final = 2000

_CHUNK_BYTES: Final = 64 * 1024
_MARK_BYTES: Final = 1024
_QUIET_POLLS: Final = 3  # a last line without an end is taken as it stands when it has not changed for so long
_LINGER_POLLS: Final = 50  # a file that was renamed may still be written to for a while
_MAX_FILES: Final = 4
_LINE_END: Final = re.compile(rb"[\r\n]")  # a progress bar ends its lines with \r alone

logger = logging.getLogger(__name__)


class LogTail:
    """Follows the log at ``path``, looking every ``poll_s`` seconds.

    A file last written before ``since_s`` (epoch s) was left by an earlier run: what it holds is skipped, what is
    added is read.

    ``last`` holds the last lines (each cut to KEPT_CHARS) to be shown. ``problem`` says why the log cannot be read at
    the moment, a file that does not exist yet included; None when it can.
    """

    def __init__(self, path: str | Path, *, poll_s: float = 0.1, since_s: float = 0.0) -> None:
        self.path = Path(path)
        self.last: deque[str] = deque(maxlen=KEPT_LINES)
        self.problem: str | None = None
        self._told: str | None = None
        self._missing = False
        self._poll_s = poll_s
        self._since_s = since_s
        self._files: list[_LogFile] = []  # oldest first; all but the last were renamed
        self._behind = False
        self._closed = False
        self._lock = threading.Lock()  # poll() and close() may meet in two threads when lines() is cancelled

    async def lines(self) -> AsyncIterator[str]:
        """Every line, once and in order, without its end; empty lines are left out. Never ends by itself.

        A line above MAX_LINE_BYTES comes in pieces of that size. A last line that has no end yet comes when it has
        stood still for a moment, and once more, whole, if it grows after that.
        """
        try:
            while True:
                for line in await asyncio.to_thread(self.poll):
                    self.last.append(line[:KEPT_CHARS])
                    yield line
                self._tell()
                if not self._behind:
                    await asyncio.sleep(self._poll_s)
        finally:
            await asyncio.to_thread(self.close)

    def _tell(self) -> None:
        """Log a problem once; that the model has not made its log yet is none."""
        if self.problem is not None and self.problem != self._told:
            logger.log(logging.INFO if self._missing else logging.WARNING, "model log: %s", self.problem)
        self._told = self.problem

    def poll(self) -> list[str]:
        """The lines that came since the last call, one chunk at most. Blocks on the disk: not for the event loop."""
        with self._lock:
            if self._closed:
                return []
            self._look()
            lines = self._read()
            self._let_go()
            return lines

    def close(self) -> None:
        """Close the files; nothing is read after that."""
        with self._lock:
            self._closed = True
            for file in self._files:
                file.close()
            self._files.clear()

    def _look(self) -> None:
        """Open the file that is at the path now, unless it is held already."""
        try:
            info = self.path.stat()
            if not stat.S_ISREG(info.st_mode):
                raise OSError(None, "Not a regular file")
            if not (self._files and self._files[-1].is_same(info)):
                self._files.append(_LogFile(self.path, self._since_s))
            self.problem, self._missing = None, False
        except FileNotFoundError:
            self._missing = not self._files  # one that is held was renamed, and the next is on its way
            self.problem = f"{self.path} does not exist yet" if self._missing else None
        except OSError as error:
            self.problem, self._missing = self._unreadable(error), False

    def _unreadable(self, error: OSError) -> str:
        return f"{self.path} cannot be read: {error.strerror}"

    def _read(self) -> list[str]:
        """New lines; an older file is read to its end before a newer one is begun."""
        lines: list[str] = []
        self._behind = False
        for file in self._files:
            try:
                lines += file.read()
            except OSError as error:
                self.problem = self._unreadable(error)
                break
            if file.behind:
                self._behind = True
                break
            if file is not self._files[-1]:
                lines += file.rest()
        return lines

    def _let_go(self) -> None:
        """Close renamed files nobody writes to any more: the newest has taken over, or there are too many."""
        while len(self._files) > 1:
            oldest, newest = self._files[0], self._files[-1]
            done = oldest.quiet_polls >= _LINGER_POLLS and newest.position > 0
            if not done and len(self._files) <= _MAX_FILES:
                return
            self._files.pop(0).close()


class _LogFile:
    """One log file, held open so that it can be read to its end under whatever name, and how far it was read."""

    def __init__(self, path: Path, since_s: float) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        info = os.fstat(self._fd)
        self._identity = (info.st_dev, info.st_ino)
        self.position = info.st_size if info.st_mtime < since_s else 0
        self._mark = os.pread(self._fd, _MARK_BYTES, max(0, self.position - _MARK_BYTES)) if self.position else b""
        self._lines = _Lines()
        self.quiet_polls = 0
        self.behind = False  # whether there is more to read at once

    def is_same(self, info: os.stat_result) -> bool:
        """Whether this is the file that ``info`` was taken of."""
        return self._identity == (info.st_dev, info.st_ino)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def read(self) -> list[str]:
        """The lines of one more chunk."""
        data = os.pread(self._fd, len(self._mark) + _CHUNK_BYTES, self.position - len(self._mark))
        if not data.startswith(self._mark):
            return self._begin_anew()
        new = data[len(self._mark) :]
        self.behind = len(new) == _CHUNK_BYTES
        self.quiet_polls = 0 if new else self.quiet_polls + 1
        if not new:
            return self.rest() if self.quiet_polls == _QUIET_POLLS else []
        self.position += len(new)
        self._mark = data[-_MARK_BYTES:]
        return self._lines.feed(new)

    def rest(self) -> list[str]:
        """What stands after the last line's end, unless it was given out already."""
        return self._lines.rest()

    def _begin_anew(self) -> list[str]:
        """The file was emptied: what was begun will not be finished, and reading starts over."""
        rest = self.rest()
        self.position, self._mark, self._lines = 0, b"", _Lines()
        return rest + self.read()


class _Lines:
    """Bytes in, lines out."""

    def __init__(self) -> None:
        self._piece = b""  # what came after the last line's end
        self._told = b""  # what of it was given out

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes."""
        # a file emptied under a writer that keeps its offset begins with a hole of NULs
        *whole, piece = _LINE_END.split(self._piece + data.replace(b"\0", b""))
        if whole and whole[0] == self._told:
            whole[0] = b""
        full_bytes = len(piece) // MAX_LINE_BYTES * MAX_LINE_BYTES
        self._told = b"" if whole or full_bytes else self._told
        self._piece = piece[full_bytes:]
        return [text for line in (*whole, piece[:full_bytes]) for text in _texts(line)]

    def rest(self) -> list[str]:
        """What has no end yet, unless it was given out as it stands."""
        if self._piece == self._told:
            return []
        self._told = self._piece
        return _texts(self._piece)


def _texts(line: bytes) -> list[str]:
    return [
        line[start : start + MAX_LINE_BYTES].decode(errors="replace") for start in range(0, len(line), MAX_LINE_BYTES)
    ]


def machine_start_s() -> float:
    """When this container or machine was started, epoch s; 0.0 where that cannot be told.

    A log last written before that is of an earlier run, whenever this worker was started. One second is taken off,
    which is how coarse the system says it.
    """
    try:
        after_name = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + int(after_name[19]) / os.sysconf("SC_CLK_TCK") - 1.0
    except (OSError, ValueError, IndexError, StopIteration):
        return 0.0
