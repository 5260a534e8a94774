"""One line an event, as text or as JSON, and the root logger left alone."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from pyworker import logs
from pyworker.settings import LogSettings

log = logging.getLogger("pyworker.test")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("pyworker", *logs.LIBRARIES)]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, state in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = state


def written(as_json: bool = False, level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(LogSettings(level, as_json=as_json), stream)
    return stream


def test_text_is_one_line_with_its_extra_fields() -> None:
    stream = written()
    log.info("scored %d", 3, extra={"capacity_per_s": 2.5})
    assert stream.getvalue().endswith("INFO    pyworker.test: scored 3 capacity_per_s=2.5\n")


def test_json_is_one_object_a_line() -> None:
    stream = written(as_json=True)
    log.warning("scored %d\nand more", 3, extra={"capacity_per_s": 2.5, "route": "/generate"})
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "WARNING",
        "logger": "pyworker.test",
        "message": "scored 3\nand more",
        "capacity_per_s": 2.5,
        "route": "/generate",
    }


def test_json_keeps_a_trace_in_its_line() -> None:
    stream = written(as_json=True)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["trace"]


@pytest.mark.parametrize("character", ["\n", "\r", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e"])
def test_a_stranger_forges_no_line_and_moves_no_cursor(character: str) -> None:
    stream = written()
    log.info("GET /a%sb", character, extra={"path": f"c{character}d"})
    (line, nothing) = stream.getvalue().split("\n")
    escaped = character.encode("unicode_escape").decode()
    assert line.endswith(f"GET /a{escaped}b path=c{escaped}d")
    assert nothing == ""


def test_a_line_in_a_trace_is_taken_for_no_line_of_the_log() -> None:
    stream = written()
    try:
        raise ValueError("broken\n2026-11-24 15:00:00.000 CRITICAL forged\x1b")
    except ValueError:
        log.exception("failed")
    first, *trace = stream.getvalue().splitlines()
    assert first.endswith("failed")
    assert all(line.startswith("    ") for line in trace)
    assert trace[-1] == r"    2026-11-24 15:00:00.000 CRITICAL forged\x1b"


@pytest.mark.parametrize("as_json", [False, True])
def test_bytes_that_are_no_text_are_logged_all_the_same(as_json: bool) -> None:
    stream = written(as_json)
    log.info("a header %s", b"\xff".decode(errors="surrogateescape"))
    assert "a header" in stream.getvalue()


def test_what_the_libraries_say_is_in_the_same_log() -> None:
    stream = written()
    logging.getLogger("asyncio").warning("a callback failed")
    logging.getLogger("aiohttp.server").warning("a request failed")
    assert [line.partition("WARNING ")[2] for line in stream.getvalue().splitlines()] == [
        "asyncio: a callback failed",
        "aiohttp.server: a request failed",
    ]


def test_what_is_below_the_level_is_left_out() -> None:
    stream = written(level="WARNING")
    log.info("quiet")
    assert stream.getvalue() == ""


def test_setting_up_again_replaces_what_was_there() -> None:
    first, second = written(), written()
    log.info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_the_root_logger_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    written()
    log.error("ours")
    assert (list(root.handlers), root.level) == before
    assert caplog.records == []
