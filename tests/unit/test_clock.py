"""How far the engine's clock is from ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.worker.core.clock import ClockOffset


def test_is_zero_until_an_answer_came() -> None:
    assert ClockOffset().offset_s == 0.0


def test_clocks_that_may_agree_are_taken_to_agree() -> None:
    clock = ClockOffset()
    clock.heard(1000.0, sent_s=1000.2, received_s=1000.9)  # Date has whole seconds
    assert clock.offset_s == 0.0


def test_an_engine_ahead_of_us() -> None:
    clock = ClockOffset()
    clock.heard(1060.0, sent_s=1000.0, received_s=1000.5)
    assert clock.offset_s == 59.5  # between 59.5 and 61


def test_an_engine_behind_us() -> None:
    clock = ClockOffset()
    clock.heard(940.0, sent_s=1000.0, received_s=1000.5)
    assert clock.offset_s == -59.0  # between -60.5 and -59


def test_more_answers_make_it_more_exact() -> None:
    clock = ClockOffset()
    clock.heard(1060.0, sent_s=1000.0, received_s=1000.5)
    clock.heard(1061.0, sent_s=1001.1, received_s=1001.2)
    clock.heard(1061.0, sent_s=1001.0, received_s=1001.1)
    assert clock.offset_s == pytest.approx(59.9)


def test_after_a_jump_the_last_answer_is_believed() -> None:
    clock = ClockOffset()
    clock.heard(1060.0, sent_s=1000.0, received_s=1000.0)
    clock.heard(1002.0, sent_s=1002.0, received_s=1002.0)
    assert clock.offset_s == 0.0


@given(
    offset_s=st.floats(-1e5, 1e5),
    exchanges=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_is_never_further_off_than_an_answer_allows(
    offset_s: float, exchanges: list[tuple[float, float, float]]
) -> None:
    """Each exchange: the pause before it, how long it takes, and where in that time the engine looked at its clock."""
    clock = ClockOffset()
    now_s, allowed_s = 1e6, float("inf")
    for pause_s, takes_s, where in exchanges:
        sent_s = now_s + pause_s
        now_s = sent_s + takes_s
        clock.heard(float(int(sent_s + where * takes_s + offset_s)), sent_s=sent_s, received_s=now_s)
        allowed_s = min(allowed_s, takes_s + 1.0)
    assert abs(clock.offset_s - offset_s) <= allowed_s + 1e-6
