"""Warnings of refused reports: one a minute for each source."""

from __future__ import annotations

import pytest

from pyworker.engine.refusals import MOST_SOURCES, WARN_EVERY_S, Refusals


def test_a_source_is_warned_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for now_s in (0.0, 1.0, WARN_EVERY_S - 1, WARN_EVERY_S):
        refusals.refused("10.0.0.1", 1, "unknown", now_s)
        refusals.refused("10.0.0.2", 2, "unknown", now_s)
    assert [vars(record)["source"] for record in caplog.records] == ["10.0.0.1", "10.0.0.2"] * 2


def test_of_many_sources_the_ones_longest_ago_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for number in range(MOST_SOURCES + 1):
        refusals.refused(str(number), 1, "unknown", 0.0)
    caplog.clear()
    for number in (MOST_SOURCES, 0):
        refusals.refused(str(number), 1, "unknown", 0.0)
    assert [vars(record)["source"] for record in caplog.records] == ["0"]
