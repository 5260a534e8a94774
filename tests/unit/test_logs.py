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
    logger = logging.getLogger("pyworker")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


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
