"""Log lines on their way to a file, pipe or terminal, without ever making who logs wait for its reader.

A line is written at once where that cannot block. Otherwise a thread writes it, and up to MOST_WAITING_BYTES wait for
that thread; what comes beyond is dropped and counted, and the count stands in the log where the lines would have been.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TextIO

__all__ = ["LogWriter"]

MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
LAST_WAIT_S: Final = 1.0  # for what waits, at the end of the process
ATOMIC_BYTES: Final = select.PIPE_BUF  # so much a pipe takes whole when it is writable at all


class _Piece(NamedTuple):
    data: bytes
    lines: int  # how many that came in are lost with it


class LogWriter:
    """Writes to ``stream``, wherever that leads at the time; ``notice(count)`` makes the line about those dropped."""

    def __init__(self, stream: TextIO, notice: Callable[[int], str]) -> None:
        self._stream = stream
        self._notice = notice
        self.begin_anew()
        _writers.add(self)

    def begin_anew(self) -> None:
        """Also in a forked child: it has no thread, and what waits is its parent's to write."""
        self._waiting: deque[_Piece] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition(threading.RLock())

    def write(self, line: str) -> None:
        """Take a line (with its end). Does not block. Raises ValueError when the stream is closed."""
        descriptor = _descriptor(self._stream)
        if descriptor is None:  # in memory
            self._stream.write(line)
            return
        data = line.encode(getattr(self._stream, "encoding", None) or "utf-8", "backslashreplace")
        with self._changed:
            if not (self._waiting or self._thread or self._dropped) and _takes_at_once(descriptor, len(data)):
                self._write_now(descriptor, data)
            else:
                self._enqueue(data)

    def flush(self) -> None:
        """Wait until everything is written, but not for long: whoever should read may be gone."""
        end_s = time.monotonic() + LAST_WAIT_S
        with self._changed:
            while self._thread is not None and (left_s := end_s - time.monotonic()) > 0:
                self._changed.wait(left_s)

    def _write_now(self, descriptor: int, data: bytes) -> None:
        try:
            _write_all(descriptor, data)
        except OSError:  # a full disk, a pipe without a reader: there is nowhere to say so yet
            self._dropped += 1

    def _enqueue(self, data: bytes) -> None:
        if self._waiting_bytes + len(data) > MOST_WAITING_BYTES:
            self._dropped += 1
            return
        self._note_dropped()
        self._append(_Piece(data, 1))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_what_waits, name="pyworker-log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is ending and starts none any more
                self._thread = None

    def _append(self, piece: _Piece) -> None:
        self._waiting.append(piece)
        self._waiting_bytes += len(piece.data)

    def _note_dropped(self) -> None:
        if self._dropped:
            data = self._notice(self._dropped).encode(errors="backslashreplace")
            self._append(_Piece(data, self._dropped))
            self._dropped = 0

    def _write_what_waits(self) -> None:
        """The thread: until nothing waits any more."""
        lost = 0
        while (piece := self._next(lost)) is not None:
            try:
                _write_all(self._stream.fileno(), piece.data)
                lost = 0
            except (OSError, ValueError):
                lost = piece.lines

    def _next(self, lost: int) -> _Piece | None:
        """What the thread writes next, ``lost`` lines having got lost in its last attempt; None: it ends."""
        with self._changed:
            self._dropped += lost
            if not (self._waiting or lost):
                self._note_dropped()
            if not self._waiting:
                self._thread = None
                self._changed.notify_all()
                return None
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece.data)
            return piece


def _begin_all_anew() -> None:
    for writer in list(_writers):
        writer.begin_anew()


_writers: weakref.WeakSet[LogWriter] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_all_anew)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, AttributeError):  # the former is io.UnsupportedOperation
        return None


def _takes_at_once(descriptor: int, size_bytes: int) -> bool:
    """Whether writing so much cannot block. A terminal may stand still in the middle of a line."""
    try:
        kind = os.fstat(descriptor).st_mode
    except OSError:
        return True  # it fails at once
    if stat.S_ISREG(kind):
        return True
    if size_bytes > ATOMIC_BYTES or os.isatty(descriptor):
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
