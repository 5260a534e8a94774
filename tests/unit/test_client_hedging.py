"""How many requests are sent twice: no clock, no chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.client.hedging import MOST_SAVED, Hedge, HedgeBudget
from pyworker.errors import ConfigurationError


@given(st.floats(0.001, 1), st.lists(st.booleans(), max_size=2000))
def test_hedges_are_never_more_than_their_share_of_the_requests(share: float, wanted: list[bool]) -> None:
    budget, sent = HedgeBudget(share), 0
    for number, wants in enumerate(wanted, 1):
        budget.asked()
        sent += wants and budget.take()
        assert sent <= number * share + 1e-6


def test_a_budget_that_was_not_used_allows_no_storm() -> None:
    budget = HedgeBudget(0.5)
    for _ in range(10_000):
        budget.asked()
    assert sum(budget.take() for _ in range(10_000)) == MOST_SAVED


def test_twenty_requests_allow_one_hedge_of_five_per_cent() -> None:
    budget = HedgeBudget(0.05)
    allowed = []
    for _ in range(40):
        budget.asked()
        allowed.append(budget.take())
    assert [number for number, was in enumerate(allowed, 1) if was] == [20, 40]


@pytest.mark.parametrize(("after_s", "share", "named"), [(0, 0.1, "after_s"), (1, 0, "share"), (1, 1.1, "share")])
def test_what_makes_no_sense_is_told(after_s: float, share: float, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Hedge(after_s, share)
