"""From the rounds of a benchmark to a capacity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.errors import BenchmarkFailed
from pyworker.worker.core.benchmark import Round, capacity_per_s, fingerprint


def test_the_best_round_counts() -> None:
    rounds = [Round(100.0, 10.0), Round(100.0, 4.0), Round(100.0, 5.0)]
    assert capacity_per_s(rounds) == 25.0


def test_a_round_is_worth_what_succeeded_in_it() -> None:
    assert capacity_per_s([Round(100.0, 10.0), Round(20.0, 1.0, ["the model server answered 500"] * 4)]) == 20.0


def test_a_round_that_took_no_time_is_no_division_by_zero() -> None:
    assert capacity_per_s([Round(1.0, 0.0)]) == pytest.approx(1e6)


def test_when_all_failed_the_first_reason_is_given() -> None:
    rounds = [Round(0.0, 1.0, ["the model server answered 500"]), Round(0.0, 1.0, ["timed out"])]
    with pytest.raises(BenchmarkFailed, match=r"no request.*succeeded: the model server answered 500"):
        capacity_per_s(rounds)


@pytest.mark.parametrize("rounds", [[], [Round(0.0, 1.0)]])
def test_no_rounds_and_no_workload_give_no_capacity(rounds: list[Round]) -> None:
    with pytest.raises(BenchmarkFailed, match="workload is 0"):
        capacity_per_s(rounds)


def test_a_fingerprint_is_the_same_for_the_same_and_fits_a_file_name() -> None:
    assert fingerprint(["a", b"b"]) == fingerprint(["a", "b"])
    assert fingerprint(["a"]).isalnum()


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_parts_give_another_fingerprint(one: list[str], other: list[str]) -> None:
    """["ab", "c"] and ["a", "bc"] too."""
    assert (fingerprint(one) == fingerprint(other)) == (one == other)
