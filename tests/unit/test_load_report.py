"""The page that a load test writes: numbers and plots, nothing from elsewhere."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.load.outcome import Objective, Outcome
from pyworker.load.plots import Series, plot
from pyworker.load.report import html_report
from pyworker.load.summary import Summary

MOMENTS = st.floats(0, 1e4)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    due_s = draw(MOMENTS)
    sent_s = due_s + draw(st.floats(0, 10))
    outcome = Outcome(due_s, sent_s, worker=draw(st.sampled_from(["", "http://a", "http://<b>"])))
    kind = draw(st.sampled_from(["ok", "stream", "failed", "in flight"]))
    if kind != "in flight":
        outcome.end_s = sent_s + draw(st.floats(0, 100))
    if kind == "failed":
        outcome.error = "the worker answers 500"
    if kind in {"ok", "stream"}:
        outcome.first_s = sent_s
        outcome.tokens = draw(st.integers(2, 50)) if kind == "stream" else 1
    return outcome


def summary_of(found: list[Outcome]) -> Summary:
    summary = Summary(Objective.of("latency=1s"))
    for one in found:
        summary.begin(one)
        if one.error or not math.isnan(one.end_s):
            summary.end(one)
    return summary


@given(st.lists(outcomes(), max_size=30))
def test_any_result_makes_a_page_of_finite_numbers(found: list[Outcome]) -> None:
    page = html_report("a <test>", summary_of(found), 12.0, {"to": "x & y"})
    assert "a &lt;test&gt;" in page
    assert "<b>" not in page.replace("<b style", "")
    for drawn in re.findall(r'(?: d="| x="| y=")([^"]*)"', page):
        assert "nan" not in drawn
        assert "inf" not in drawn


def test_the_page_needs_nothing_from_elsewhere() -> None:
    found: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend([tag for name, _ in attrs if name in {"src", "href"}] + [tag] * (tag in {"script", "link"}))

    Links().feed(html_report("t", summary_of([Outcome(0.0, 0.0, 0.1, 0.2, tokens=1)]), 1.0, {}))
    assert found == []


@pytest.mark.parametrize(("most", "last"), [(0.466, "0.4"), (12.7, "10"), (3.0, "3"), (1e-6, "1e-06")])
def test_ticks_are_round_numbers(most: float, last: str) -> None:
    picture = plot([Series("a", [(0.0, 1.0), (most, 1.0)], "#000")], "s", "n")
    bottom = re.findall(r'text-anchor="middle">([^<]*)<', picture)
    assert bottom[0] == "0"
    assert bottom[-2] == last


def test_nothing_to_show_is_said() -> None:
    assert "nothing to show" in plot([Series("a", [], "#000")], "s", "n")
