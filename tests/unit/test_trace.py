"""Recorded arrivals."""

from __future__ import annotations

import pytest

from pyworker.errors import BadRequest
from pyworker.load.trace import Arrival, cut, read_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8

2023-11-16 18:17:05.9799600,110,27
"""


def test_a_trace_as_azure_publishes_them() -> None:
    trace = read_trace(AZURE.splitlines(), "trace.csv")
    assert [(round(one.due_s, 3), *one[1:]) for one in trace.arrivals] == [
        (0.0, 4808, 10),
        (0.052, 3180, 8),
        (2.0, 110, 27),
    ]


def test_json_lines_in_any_order_with_either_names() -> None:
    lines = [
        '{"arrival": 12, "input": 5, "output": 6}',
        '{"TIMESTAMP": 10.5, "ContextTokens": 3, "GeneratedTokens": 4}',
    ]
    assert read_trace(lines, "trace.jsonl").arrivals == [Arrival(0.0, 3, 4), Arrival(1.5, 5, 6)]


BAD = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03,1,1
yesterday,1,1
2023-11-16 18:17:04,many,1
2023-11-16 18:17:05,1
2023-11-16 18:17:06,-1,1
"""


def test_bad_lines_are_named_each_with_its_number() -> None:
    with pytest.raises(BadRequest) as refused:
        read_trace(BAD.splitlines(), "trace.csv")
    told = str(refused.value)
    for number, what in ((3, "yesterday"), (4, "many"), (5, "2 of 3 columns"), (6, "-1")):
        assert f"trace.csv, line {number}: " in told
        assert what in told
    assert "--skip-bad-lines" in told


def test_bad_lines_can_be_left_out_and_are_told_all_the_same() -> None:
    trace = read_trace(BAD.splitlines(), "trace.csv", skip_bad=True)
    assert trace.arrivals == [Arrival(0.0, 1, 1)]
    assert len(trace.problems) == 4


@pytest.mark.parametrize(
    "text", ["", "\n", "a,b,c\n1,2,3\n", "TIMESTAMP,ContextTokens,GeneratedTokens\n", "[1]\n", "\x00\n"]
)
def test_what_is_no_trace_is_refused_with_the_columns_that_it_needs(text: str) -> None:
    with pytest.raises(BadRequest, match=r"input|ContextTokens"):
        read_trace(text.splitlines(), "x")


@pytest.mark.parametrize("line", ['{"arrival": 1}', "{", '{"arrival": NaN, "input": 1, "output": 1}', "[]"])
def test_a_json_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(BadRequest, match="line 2"):
        read_trace(['{"arrival": 1, "input": 1, "output": 1}', line], "x")


def test_a_cut_is_faster_and_begins_where_it_is_told() -> None:
    arrivals = [Arrival(float(second), 1, 1) for second in range(10)]
    assert [one.due_s for one in cut(arrivals, speed=2.0, from_s=4.0, until_s=8.0)] == [0.0, 0.5, 1.0, 1.5]
