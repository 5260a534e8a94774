"""When the requests of a load test are due."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.errors import BadRequest
from pyworker.load.arrivals import Pattern, Ramp, Rate, Sine, Steady, due_times, gaps

RATES = st.one_of(
    st.builds(Steady, st.floats(0.01, 1e4)),
    st.builds(Ramp, st.floats(0, 1e3), st.floats(0.01, 1e3), st.floats(0.1, 1e3)),
    st.floats(0.1, 1e3).flatmap(lambda mean: st.builds(Sine, st.just(mean), st.floats(0, mean), st.floats(0.1, 1e3))),
)


def first(count: int, rate: Rate, pattern: Pattern = "constant", burstiness: float = 1.0) -> list[float]:
    return list(itertools.islice(due_times(rate, gaps(pattern, random.Random(7), burstiness)), count))  # noqa: S311


def test_a_constant_rate_is_a_clock_that_begins_at_once() -> None:
    assert first(4, Steady(2.0)) == [0.0, 0.5, 1.0, 1.5]


@given(RATES, st.sampled_from(["constant", "poisson", "gamma"]))
def test_time_never_goes_back(rate: Rate, pattern: Pattern) -> None:
    times = first(50, rate, pattern)
    assert times == sorted(times)
    assert times[0] >= 0


def test_a_ramp_goes_from_one_rate_to_the_other_and_on() -> None:
    times = first(1000, Ramp(1.0, 9.0, 10.0))
    assert len([time for time in times if time < 10]) == 50  # 5 a second on average
    assert len([time for time in times if time < 1]) == 2
    assert len([time for time in times if 20 <= time < 21]) == 9


def test_a_ramp_may_begin_at_nothing_and_go_down() -> None:
    assert len([time for time in first(500, Ramp(0.0, 10.0, 10.0)) if time < 10]) == 50
    assert len([time for time in first(500, Ramp(10.0, 1.0, 10.0)) if time < 10]) == 55


def test_a_sine_swings_about_its_middle() -> None:
    times = first(4000, Sine(10.0, 10.0, 100.0))
    by_quarter = [len([time for time in times if start <= time < start + 25]) for start in (0, 25, 50, 75)]
    assert by_quarter[0] == pytest.approx(409, abs=3)  # 250 + 10 * 100 / (2 pi)
    assert by_quarter[2] == pytest.approx(91, abs=3)
    assert sum(by_quarter) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(("burstiness", "variation"), [(0.25, 2.0), (1.0, 1.0), (4.0, 0.5)])
def test_gaps_of_a_gamma_process_vary_as_its_burstiness_says(burstiness: float, variation: float) -> None:
    found = list(itertools.islice(gaps("gamma", random.Random(3), burstiness), 50_000))  # noqa: S311
    assert statistics.mean(found) == pytest.approx(1.0, rel=0.05)
    assert statistics.stdev(found) == pytest.approx(variation, rel=0.05)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Steady(0.0),
        lambda: Steady(-1.0),
        lambda: Ramp(1.0, 0.0, 5.0),
        lambda: Ramp(1.0, 2.0, 0.0),
        lambda: Sine(5.0, 6.0, 1.0),
        lambda: Sine(5.0, 1.0, 0.0),
        lambda: next(gaps("gamma", random.Random(1), 0.0)),  # noqa: S311
    ],
)
def test_what_cannot_be_is_refused(make) -> None:
    with pytest.raises(BadRequest):
        make()
