"""The model's log, whatever is done to it (field-faults 2 and 7)."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from pyworker.worker.model.log_tail import KEPT_LINES, MAX_LINE_BYTES, LogTail, machine_start_s

HOUR_S = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.log"


@pytest.fixture
def tail(path: Path) -> Iterator[LogTail]:
    tail = LogTail(path)
    yield tail
    tail.close()


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def polled(tail: LogTail, polls: int = 10) -> list[str]:
    """What comes within so many polls: enough for a last line without an end."""
    return [line for _ in range(polls) for line in tail.poll()]


def test_is_read_from_its_beginning_and_then_on(path: Path, tail: LogTail) -> None:
    append(path, "one\ntwo\n")
    assert tail.poll() == ["one", "two"]
    assert tail.poll() == []
    append(path, "three\n")
    assert tail.poll() == ["three"]


def test_a_file_that_does_not_exist_yet_is_waited_for(path: Path, tail: LogTail) -> None:
    assert tail.poll() == []
    assert tail.problem is not None
    assert "does not exist yet" in tail.problem
    append(path, "one\n")
    assert tail.poll() == ["one"]
    assert tail.problem is None


def test_a_line_in_two_pieces_is_one_line(path: Path, tail: LogTail) -> None:
    append(path, "infer server ")
    assert tail.poll() == []
    append(path, "has started\nnext\n")
    assert tail.poll() == ["infer server has started", "next"]


def test_a_character_in_two_pieces_is_one_character(path: Path, tail: LogTail) -> None:
    both = "ü\n".encode()
    append(path, both[:1])
    assert tail.poll() == []
    append(path, both[1:])
    assert tail.poll() == ["ü"]


def test_bytes_that_are_not_text_do_not_stop_it(path: Path, tail: LogTail) -> None:
    append(path, b"\xff\xfe broken\nfine\n")
    assert tail.poll() == ["\ufffd\ufffd broken", "fine"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_kind_end_a_line(path: Path, tail: LogTail, end: str) -> None:
    append(path, f"10%{end}20%{end}{end}loaded{end}")
    assert tail.poll() == ["10%", "20%", "loaded"]


def test_a_line_end_in_two_pieces_is_one(path: Path, tail: LogTail) -> None:
    append(path, "one\r")
    assert tail.poll() == ["one"]
    append(path, "\ntwo\r\n")
    assert tail.poll() == ["two"]


def test_a_last_line_without_an_end_comes_when_it_stands_still_and_only_once(path: Path, tail: LogTail) -> None:
    append(path, "ready")
    assert tail.poll() == []
    assert polled(tail) == ["ready"]
    append(path, "\nnext\n")
    assert polled(tail) == ["next"]


def test_the_same_line_twice_is_two_lines(path: Path, tail: LogTail) -> None:
    append(path, "ready")
    assert polled(tail) == ["ready"]
    append(path, "\nready\nready\n")
    assert polled(tail) == ["ready", "ready"]


def test_a_last_line_that_grows_after_it_was_given_out_comes_again_whole(path: Path, tail: LogTail) -> None:
    append(path, "infer server ")
    assert polled(tail) == ["infer server "]
    append(path, "has started")
    assert polled(tail) == ["infer server has started"]
    append(path, "!\n")
    assert polled(tail) == ["infer server has started!"]


def test_a_line_that_keeps_growing_waits_for_its_end(path: Path, tail: LogTail) -> None:
    lines: list[str] = []
    for piece in "a line as slow as this":
        append(path, piece)
        lines += tail.poll()
    append(path, "\n")
    assert lines + tail.poll() == ["a line as slow as this"]


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(path: Path, tail: LogTail) -> None:
    append(path, "one\n")
    assert tail.poll() == ["one"]
    append(path, "two\n")
    path.rename(path.with_suffix(".1"))
    append(path, "three\n")
    assert polled(tail) == ["two", "three"]


def test_a_line_written_around_a_rename_is_whole(path: Path, tail: LogTail) -> None:
    append(path, "infer server ")
    assert tail.poll() == []
    path.rename(path.with_suffix(".1"))
    assert tail.poll() == []
    append(path.with_suffix(".1"), "has started\n")
    assert tail.poll() == ["infer server has started"]
    append(path, "next\n")
    assert polled(tail) == ["next"]


def test_a_line_written_to_a_renamed_file_when_the_new_one_is_there_is_not_lost(path: Path, tail: LogTail) -> None:
    append(path, "one\n")
    assert tail.poll() == ["one"]
    path.rename(path.with_suffix(".1"))
    append(path, "two\n")
    assert tail.poll() == ["two"]
    append(path.with_suffix(".1"), "late\n")
    assert tail.poll() == ["late"]


def test_a_writer_that_never_opens_the_new_file_is_followed_for_ever(path: Path, tail: LogTail) -> None:
    append(path, "one\n")
    assert tail.poll() == ["one"]
    path.rename(path.with_suffix(".1"))
    path.touch()
    assert polled(tail, 500) == []
    append(path.with_suffix(".1"), "late\n")
    assert tail.poll() == ["late"]


def test_renamed_files_are_not_held_open_for_ever(path: Path, tail: LogTail) -> None:
    for number in range(30):
        append(path, f"{number}\n")
        assert tail.poll() == [f"{number}"]
        path.rename(path.with_suffix(f".{number}"))
    assert open_files(path.parent) <= 6
    append(path, "last\n")
    assert polled(tail, 200) == ["last"]
    assert open_files(path.parent) == 1


def open_files(folder: Path) -> int:
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith(str(folder)) for link in links)


def test_a_file_emptied_in_place_is_read_anew(path: Path, tail: LogTail) -> None:
    append(path, "one\ntwo\n")
    assert tail.poll() == ["one", "two"]
    path.write_text("new\n")
    assert tail.poll() == ["new"]


@pytest.mark.parametrize("lines", [1, 1000])
def test_a_file_emptied_and_written_beyond_its_old_size_between_two_polls_is_read_anew(
    path: Path, tail: LogTail, lines: int
) -> None:
    append(path, "".join(f"old {number}\n" for number in range(lines)))
    assert len(polled(tail)) == lines
    path.write_text("".join(f"new {number}\n" for number in range(2 * lines)))
    assert polled(tail) == [f"new {number}" for number in range(2 * lines)]


def test_a_piece_that_was_not_given_out_before_the_file_was_emptied_is_not_lost(path: Path, tail: LogTail) -> None:
    append(path, "the last words")
    assert tail.poll() == []
    path.write_text("new\n")
    assert tail.poll() == ["the last words", "new"]


def test_the_hole_left_by_a_writer_that_keeps_its_offset_is_no_text(path: Path, tail: LogTail) -> None:
    with path.open("wb") as writer:
        writer.write(b"x" * 200_000 + b"\n")
        writer.flush()
        assert len("".join(polled(tail))) == 200_000
        os.truncate(path, 0)
        writer.write(b"loaded\n")
        writer.flush()
        assert polled(tail) == ["loaded"]


def test_a_very_long_line_comes_in_pieces(path: Path, tail: LogTail) -> None:
    append(path, b"x" * (3 * MAX_LINE_BYTES + 5) + b"\nnext\n")
    lines = polled(tail)
    assert [len(line) for line in lines] == [MAX_LINE_BYTES] * 3 + [5, 4]


def test_a_poll_takes_a_chunk_and_the_next_goes_on(path: Path, tail: LogTail) -> None:
    written = [f"line {number:06}" for number in range(20_000)]
    append(path, "\n".join(written) + "\n")
    first = tail.poll()
    assert len(first) < len(written)
    assert first + polled(tail) == written


def test_a_directory_in_its_place_is_named_and_tried_again(path: Path, tail: LogTail) -> None:
    path.mkdir()
    assert tail.poll() == []
    assert tail.problem is not None
    assert "Not a regular file" in tail.problem
    path.rmdir()
    append(path, "one\n")
    assert tail.poll() == ["one"]
    assert tail.problem is None


def test_a_place_that_cannot_be_reached_is_named_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    tail = LogTail(tmp_path / "folder" / "model.log")
    assert tail.poll() == []
    assert tail.problem is not None
    assert "Not a directory" in tail.problem
    tail.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_and_tried_again(path: Path, tail: LogTail) -> None:
    append(path, "one\n")
    path.chmod(0)
    assert tail.poll() == []
    assert tail.problem is not None
    assert "Permission denied" in tail.problem
    path.chmod(0o600)
    assert tail.poll() == ["one"]


def test_a_log_left_by_an_earlier_run_is_skipped(path: Path) -> None:
    append(path, "infer server has started\n")
    long_ago_s = time.time() - HOUR_S
    os.utime(path, (long_ago_s, long_ago_s))
    tail = LogTail(path, since_s=time.time() - 60)
    assert polled(tail) == []
    append(path, "loading\n")
    assert polled(tail) == ["loading"]
    path.write_text("loading anew\n")
    assert polled(tail) == ["loading anew"]
    tail.close()


def test_a_log_begun_in_this_run_is_read_from_its_beginning(path: Path) -> None:
    append(path, "infer server has started\n")
    tail = LogTail(path, since_s=machine_start_s())
    assert tail.poll() == ["infer server has started"]
    tail.close()


@pytest.mark.skipif(not Path("/proc/1/stat").exists(), reason="the system does not say")
def test_the_start_of_the_machine_is_in_the_past(path: Path) -> None:
    append(path, "")
    assert 0.0 < machine_start_s() < path.stat().st_mtime


def test_nothing_is_read_after_close(path: Path, tail: LogTail) -> None:
    append(path, "one\n")
    tail.close()
    assert tail.poll() == []
    assert open_files(path.parent) == 0


async def test_lines_come_as_they_are_written(path: Path) -> None:
    tail = LogTail(path, poll_s=0.001)
    async with aclosing(tail.lines()) as lines:
        for text in ("one", "two"):
            await asyncio.to_thread(append, path, f"{text}\n")
            assert await anext(lines) == text
    assert list(tail.last) == ["one", "two"]


async def test_cancelling_the_reader_closes_the_file(path: Path) -> None:
    await asyncio.to_thread(append, path, "one\n")
    tail, seen = LogTail(path, poll_s=0.001), asyncio.Event()

    async def read() -> None:
        async for _ in tail.lines():
            seen.set()

    reader = asyncio.create_task(read())
    await seen.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.to_thread(open_files, path.parent) == 0


async def test_only_the_last_lines_are_kept(path: Path) -> None:
    await asyncio.to_thread(append, path, "".join(f"{number}\n" for number in range(3 * KEPT_LINES)))
    tail = LogTail(path, poll_s=0.001)
    async with aclosing(tail.lines()) as lines:
        async for line in lines:
            if line == f"{3 * KEPT_LINES - 1}":
                break
    assert list(tail.last) == [f"{number}" for number in range(2 * KEPT_LINES, 3 * KEPT_LINES)]


async def test_a_problem_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.to_thread(path.mkdir)
    tail = LogTail(path, poll_s=0.001)
    with caplog.at_level(logging.INFO, "pyworker"):
        async with aclosing(tail.lines()) as lines:
            waiting = asyncio.create_task(anext(lines))
            await asyncio.sleep(0.03)  # a good many polls
            await asyncio.to_thread(path.rmdir)
            await asyncio.to_thread(append, path, "one\n")
            assert await waiting == "one"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert set(warnings) == {f"model log: {path} cannot be read: Not a regular file"}
    assert len(warnings) == 1


async def test_a_log_that_is_not_there_yet_is_no_warning(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tail = LogTail(path, poll_s=0.001)
    with caplog.at_level(logging.INFO, "pyworker"):
        async with aclosing(tail.lines()) as lines:
            waiting = asyncio.create_task(anext(lines))
            await asyncio.sleep(0.01)
            await asyncio.to_thread(append, path, "one\n")
            assert await waiting == "one"
    assert {record.levelno for record in caplog.records} <= {logging.INFO}
