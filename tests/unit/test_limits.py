"""How often an engine may be called: a bucket for each source, refilled as time passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworker.engine.core.limits import Buckets, Rate, source_of


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    buckets = Buckets(Rate(per_s=10.0, burst=3.0))
    assert [buckets.wait_s("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.wait_s("a", 0.0) == pytest.approx(0.1)
    assert buckets.wait_s("a", 0.1) == 0.0
    assert buckets.wait_s("a", 0.1) > 0.0


def test_each_source_has_its_own() -> None:
    buckets = Buckets(Rate(per_s=1.0, burst=1.0))
    assert [buckets.wait_s(source, 0.0) for source in ("a", "b", "a")] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_whoever_has_many_addresses_is_one_source(address: str, source: str) -> None:
    assert source_of(address) == source


def test_who_waits_as_long_as_told_may_call() -> None:
    buckets = Buckets(Rate(per_s=3.0, burst=1.0))
    buckets.wait_s("a", 5.0)
    wait_s = buckets.wait_s("a", 5.1)
    assert buckets.wait_s("a", 5.1 + wait_s + 1e-9) == 0.0


def test_of_many_sources_the_one_longest_silent_is_forgotten() -> None:
    buckets = Buckets(Rate(per_s=1.0, burst=1.0), most=2)
    for source in ("a", "b", "a", "c"):
        buckets.wait_s(source, 0.0)
    assert buckets.wait_s("a", 0.0) > 0.0
    assert buckets.wait_s("b", 0.0) == 0.0


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    buckets = Buckets(Rate(per_s=1.0, burst=2.0))
    assert buckets.wait_s("a", 100.0) == 0.0
    assert buckets.wait_s("a", 0.0) == 0.0
    assert buckets.wait_s("a", 0.0) == 1.0


@given(
    st.lists(st.floats(min_value=0.0, max_value=2.0), max_size=60),
    st.floats(min_value=0.1, max_value=20.0),
    st.integers(min_value=1, max_value=10),
)
def test_never_more_than_the_burst_and_what_came_since(gaps_s: list[float], per_s: float, burst: int) -> None:
    buckets, now_s, allowed = Buckets(Rate(per_s, float(burst))), 0.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        allowed += buckets.wait_s("a", now_s) == 0.0
        assert allowed <= burst + now_s * per_s + 1e-6
