"""choose(): the least expected wait."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from pyworker.engine.core.routing import MANY, choose, expected_wait_s


@dataclass(frozen=True)
class Seen:
    """What routing sees of a worker."""

    load: float = 0.0
    capacity_per_s: float = 100.0
    sent_s: float = 0.0


def test_the_worker_with_the_least_expected_wait_is_chosen_not_the_one_with_the_least_load() -> None:
    slow, fast = Seen(load=50, capacity_per_s=10), Seen(load=200, capacity_per_s=100)
    assert choose([slow, fast], max_wait_s=30) is fast


def test_of_idle_workers_the_quickest_is_chosen() -> None:
    slow, fast = Seen(capacity_per_s=10), Seen(capacity_per_s=20)
    assert choose([slow, fast], max_wait_s=30) is fast


def test_equals_take_turns() -> None:
    first, second = Seen(sent_s=5.0), Seen(sent_s=4.0)
    assert choose([first, second], max_wait_s=30) is second


def test_a_worker_above_the_endpoints_limit_gets_no_more_requests() -> None:
    assert choose([Seen(load=3001)], max_wait_s=30) is None
    assert choose([Seen(load=3000)], max_wait_s=30) is not None


def test_without_workers_there_is_nobody() -> None:
    assert choose([], max_wait_s=30) is None


def test_a_worker_of_unknown_capacity_is_tried_with_one_request_at_a_time() -> None:
    assert choose([Seen(capacity_per_s=0.0)], max_wait_s=30) is not None
    assert choose([Seen(load=1, capacity_per_s=0.0)], max_wait_s=30) is None
    assert expected_wait_s(Seen(load=1, capacity_per_s=0.0)) == math.inf


@pytest.mark.parametrize("lie", [Seen(load=math.nan), Seen(load=1, capacity_per_s=math.nan), Seen(math.inf, math.inf)])
def test_a_worker_without_meaningful_numbers_does_not_keep_the_others_from_being_chosen(lie: Seen) -> None:
    honest = Seen(load=10)
    assert choose([lie, honest], max_wait_s=30) is honest
    assert choose([honest, lie], max_wait_s=30) is honest


# --- many workers ---


def test_of_many_workers_the_better_of_two_taken_by_chance_is_chosen() -> None:
    workers = [Seen(load=number) for number in range(MANY + 1)]
    draws = iter([40, 20])
    assert choose(workers, max_wait_s=30, below=lambda _: next(draws)) is workers[20]


def test_of_many_workers_all_are_looked_at_when_the_two_are_full() -> None:
    workers = [Seen(load=9000), *(Seen(load=8000) for _ in range(MANY)), Seen(load=5)]
    assert choose(workers, max_wait_s=30, below=lambda _: 0) is workers[-1]
