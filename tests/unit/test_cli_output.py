"""Cells, aligned columns, and what is new in a followed log: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.cli.following import new_lines
from pyworker.cli.logs import Level, merged
from pyworker.cli.output import cell, moment, printable
from pyworker.wire_management import EndpointLogs

LINES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=20)


@given(st.integers(1, 10), st.lists(st.integers(), unique=True, max_size=30), st.integers(0, 30))
def test_every_new_line_of_a_log_is_shown_once(tail: int, numbers: list[int], seen: int) -> None:
    lines = [str(number) for number in numbers]
    before, now = lines[:seen][-tail:], lines[-tail:]
    new = new_lines(before, now)
    assert new == [line for line in now if line not in before]


@given(LINES, LINES)
def test_what_is_new_is_an_end_of_what_there_is_now(before: list[str], now: list[str]) -> None:
    new = new_lines(before, now)
    assert now[len(now) - len(new) :] == new


def test_the_levels_of_a_log_are_one_log_in_the_order_of_time() -> None:
    stamps = [f"2026-11-24T14:22:32.{number:03d}Z" for number in range(4)]
    logs = EndpointLogs(
        info0=f"{stamps[0]} z\n{stamps[2]} a", info1=f"{stamps[1]} b\n{stamps[2]} c", debug=f"{stamps[3]} d"
    )
    shown = [line.partition(" ")[2] for line in merged(logs, Level.INFO1, 10)]
    assert shown == ["z", "b", "a", "c"]
    assert [line[-1] for line in merged(logs, Level.DEBUG, 2)] == ["c", "d"]
    assert [line[-1] for line in merged(logs, Level.INFO0, 10)] == ["z", "a"]


def test_a_log_that_did_not_change_has_nothing_new() -> None:
    assert new_lines(["a", "a"], ["a", "a"]) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (0, "0"),
        (0.0, "0"),
        (12.5, "12.5"),
        (104.25, "104"),
        (123456.7, "123457"),
        (1_000_000, "1000000"),
        ("two\n lines", "two lines"),
        ("\x1b[2J", "\N{REPLACEMENT CHARACTER}[2J"),
    ],
)
def test_a_value_in_a_table_is_one_short_line(value: str | float | None, shown: str) -> None:
    assert cell(value) == shown


@given(st.text())
def test_nothing_that_is_printed_commands_the_terminal(text: str) -> None:
    assert all(char.isprintable() or char == "\t" for char in printable(text))


def test_a_time_is_in_utc_and_none_is_none() -> None:
    assert (moment(0.0), moment(1_790_000_000.0)) == (None, "2026-09-21 14:13:20 UTC")
