"""Capacity learned from the requests served."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyworker.worker.core.capacity import LearnedCapacity


def test_is_unknown_until_the_first_request_was_served() -> None:
    assert LearnedCapacity().per_s == 0.0


def test_the_first_request_gives_the_first_estimate() -> None:
    assert LearnedCapacity().add(30.0, took_s=2.0, working=1) == 15.0


def test_requests_beside_each_other_share_the_machine() -> None:
    assert LearnedCapacity().add(30.0, took_s=2.0, working=4) == 60.0


def test_a_machine_with_little_to_do_is_not_taken_for_a_slow_one() -> None:
    learned = LearnedCapacity()
    learned.add(100.0, took_s=1.0, working=1)
    assert learned.add(1.0, took_s=1.0, working=1) == 100.0


def test_one_lucky_request_does_not_decide() -> None:
    learned = LearnedCapacity()
    for _ in range(10):
        learned.add(100.0, took_s=1.0, working=1)
    assert learned.add(100.0, took_s=0.01, working=1) < 2500.0
    for _ in range(50):
        learned.add(100.0, took_s=0.5, working=1)
    assert learned.per_s < 2500.0


def test_more_work_at_once_that_is_done_as_fast_raises_it() -> None:
    learned = LearnedCapacity()
    for working in range(1, 11):
        for _ in range(20):
            learned.add(100.0, took_s=1.0, working=working)
    assert 900.0 < learned.per_s <= 1000.0


@given(st.lists(st.tuples(st.floats(0, 1e12), st.floats(0, 1e5), st.integers(0, 1000)), max_size=30))
def test_never_goes_down_and_stays_finite(samples: list[tuple[float, float, int]]) -> None:
    learned = LearnedCapacity()
    before = 0.0
    for workload, took_s, working in samples:
        after = learned.add(workload, took_s, working)
        assert before <= after < float("inf")
        before = after
