"""The log's writer with real pipes and files: who logs never waits, nothing is lost that fits, all else is counted."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

import pytest

from pyworker.log_writer import MOST_WAITING_BYTES, LogWriter

LINE = "x" * 99 + "\n"


def notice(count: int) -> str:
    return f"{count} dropped\n"


@contextlib.contextmanager
def a_pipe() -> Generator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        try:
            yield reading, stream
        finally:
            with contextlib.suppress(OSError):  # which frees a writer that still waits
                os.close(reading)


def fill(writer: LogWriter) -> int:
    """Write until nothing more fits anywhere; how many lines that were."""
    count = 3 * MOST_WAITING_BYTES // len(LINE) // 2
    for _ in range(count):
        writer.write(LINE)
    return count


def read_to(reading: int, ending: str) -> str:
    text = ""
    while not text.endswith(ending):
        text += os.read(reading, 65536).decode()
    return text


def test_a_line_is_in_the_pipe_when_it_has_been_written() -> None:
    with a_pipe() as (reading, stream):
        writer = LogWriter(stream, notice)
        writer.write("one\n")
        assert os.read(reading, 100) == b"one\n"
        assert threading.active_count() == 1


def test_a_file_has_a_long_line_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        LogWriter(stream, notice).write("x" * 100_000 + "\n")
        assert path.stat().st_size == 100_001


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting_and_what_was_dropped_is_told() -> None:
    with a_pipe() as (reading, stream):
        writer = LogWriter(stream, notice)
        written = fill(writer)
        writer_thread = next(one for one in threading.enumerate() if one.name == "pyworker-log")
        text = read_to(reading, " dropped\n")
        kept = text.count(LINE)
        assert text == LINE * kept + f"{written - kept} dropped\n"
        assert kept * len(LINE) >= MOST_WAITING_BYTES - len(LINE)
        writer_thread.join()
        writer.write("after\n")
        assert read_to(reading, "\n") == "after\n"


def test_the_count_stands_where_the_lines_would_have_been() -> None:
    with a_pipe() as (reading, stream):
        writer = LogWriter(stream, notice)
        fill(writer)
        text = ""
        while len(text) < MOST_WAITING_BYTES // 2:
            text += os.read(reading, 65536).decode()
        writer.write("after\n")
        text += read_to(reading, "after\n")
        assert text.replace(LINE, "").partition(" dropped\n")[2] == "after\n"


def test_an_end_waits_for_a_slow_reader_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_pipe() as (reading, stream):
        writer = LogWriter(stream, notice)
        for _ in range(2000):
            writer.write(LINE)
        monkeypatch.setattr("pyworker.log_writer.LAST_WAIT_S", 0.05)
        began_s = time.monotonic()
        writer.flush()
        assert time.monotonic() - began_s >= 0.05
        monkeypatch.setattr("pyworker.log_writer.LAST_WAIT_S", 60.0)
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.append(read_to(reading, "the end\n")))
        reader.start()
        writer.write("the end\n")
        writer.flush()
        reader.join()
        assert seen == [LINE * 2000 + "the end\n"]


def test_a_reader_that_has_gone_harms_nobody() -> None:
    with a_pipe() as (reading, stream):
        writer = LogWriter(stream, notice)
        os.close(reading)
        for _ in range(10):
            writer.write(LINE)
            writer.flush()


def test_what_a_full_disk_did_not_take_is_counted() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, the disk that is full")
    with a_pipe() as (reading, pipe), full.open("w") as disk:
        stream = _Elsewhere(disk)
        writer = LogWriter(stream, notice)
        for _ in range(3):
            writer.write("lost\n")
            writer.flush()
        stream.leads_to = pipe
        writer.write("kept\n")
        assert read_to(reading, "kept\n") == "3 dropped\nkept\n"


class _Elsewhere:
    """A stream whose file may change, as stderr's does when a program is sent to the background."""

    def __init__(self, leads_to: TextIO) -> None:
        self.leads_to = leads_to

    def fileno(self) -> int:
        return self.leads_to.fileno()


def test_a_forked_child_logs_by_itself_and_leaves_its_parents_lines_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.log_writer.LAST_WAIT_S", 60.0)
    with a_pipe() as (reading, stream):
        writer = LogWriter(stream, notice)
        for _ in range(2000):
            writer.write(LINE)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of a fork beside threads
            child = os.fork()
        if child == 0:
            writer.write("the child\n")
            writer.flush()
            os._exit(0)
        text = read_to(reading, "x\n")
        while "the child" not in text or text.count("x\n") < 2000:
            text += os.read(reading, 65536).decode()
        assert os.waitpid(child, 0)[1] == 0
        assert text.count("x\n") == 2000
