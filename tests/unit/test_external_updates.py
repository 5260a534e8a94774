"""A group on machines of one's own is updated one worker after the other, and only while the others bear the load."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from pyworker.engine.core.addresses import Network, require_safe_way
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.external_updates import OVERDUE_S, Step, next_step
from pyworker.engine.core.workers import LATE_S, Worker
from pyworker.errors import BadRequest
from pyworker.wire import WorkerStatus


class Fleet:
    """Workers of one group, each with 100/s, of version 1; the group has version 2."""

    def __init__(self, count: int) -> None:
        self.group = Group(1, Endpoint(1, "default"), version=2)
        self.workers = [
            Worker(number, self.group, url=f"http://10.0.0.{number}:3000") for number in range(1, count + 1)
        ]
        for worker in self.workers:
            says(worker, "ready")

    def step(self, *, last: Worker | None = None, needed_per_s: float = 0.0, now_s: float = 10.0) -> Step:
        ready = [worker for worker in self.workers if worker.is_ready]
        return next_step(self.workers, ready, last, needed_per_s, now_s)


def says(worker: Worker, state: str | None, now_s: float = 0.0, **fields: Any) -> None:
    status = WorkerStatus(id=worker.number, mtoken="mtoken", state=state, max_perf=100.0, loadtime=1.0, **fields)
    worker.report(status, {}, now_s)


def come_back(worker: Worker, now_s: float = 10.0) -> None:
    worker.told_to_drain(now_s)
    for state in ("draining", "starting", "ready"):
        says(worker, state, now_s)


def test_the_least_busy_worker_goes_first_and_before_it_one_that_is_not_ready() -> None:
    fleet = Fleet(3)
    says(fleet.workers[0], "ready", cur_load=50.0)
    assert fleet.step().worker is fleet.workers[1]
    says(fleet.workers[2], "benchmarking")
    assert fleet.step().worker is fleet.workers[2]


def test_the_next_one_waits_until_the_one_before_is_ready_again() -> None:
    fleet = Fleet(2)
    first, second = fleet.workers
    first.told_to_drain(10.0)
    for state in ("draining", "starting"):
        says(first, state, 10.0)
        assert fleet.step(last=first).worker is None
    says(first, "ready", 11.0)
    assert first.version == 2
    assert fleet.step(last=first).worker is second
    come_back(second)
    assert fleet.step(last=second).is_done


def test_nobody_is_told_while_the_others_could_not_bear_the_load() -> None:
    fleet = Fleet(2)
    step = fleet.step(needed_per_s=101.0)
    assert (step.worker, step.is_done) == (None, False)
    assert "100/s stay, 101/s needed" in step.why
    assert fleet.step(needed_per_s=100.0).worker is not None


def test_one_is_told_all_the_same_once_the_load_has_needed_each_for_long_enough() -> None:
    fleet = Fleet(2)
    members = fleet.workers
    step = next_step(members, members, None, 150.0, 10.0, left_s=1.0)
    assert (step.worker, step.waits) == (None, True)
    step = next_step(members, members, None, 150.0, 10.0, left_s=0.0)
    assert (step.worker, step.waits) == (members[0], True)
    assert "the load has needed every worker for long enough" in step.why
    members[0].told_to_drain(10.0)
    assert next_step(members, members[1:], members[0], 150.0, 10.0, left_s=0.0).worker is None
    assert not next_step(members, members, None, 50.0, 10.0).waits


def test_a_single_worker_is_told_and_requests_wait_for_it() -> None:
    fleet = Fleet(1)
    step = fleet.step(needed_per_s=50.0)
    assert (step.worker, step.why) == (fleet.workers[0], "requests are held until it is ready again")


def test_one_that_does_not_come_back_stops_the_update_and_is_named() -> None:
    fleet = Fleet(2)
    fleet.workers[0].told_to_drain(10.0)
    step = fleet.step(last=fleet.workers[0], now_s=10.0 + OVERDUE_S)
    assert step.worker is None
    assert "worker 1 was told to drain 900 s ago and is not ready again" in step.why


def test_workers_of_others_and_those_that_are_gone_hold_no_update_up() -> None:
    fleet = Fleet(2)
    says(fleet.workers[0], None)
    fleet.workers[1].lose()
    assert fleet.step().is_done


def test_a_report_from_before_the_drain_does_not_count_as_coming_back() -> None:
    worker = Fleet(1).workers[0]
    worker.told_to_drain(10.0)
    says(worker, "ready", 10.1)
    assert (worker.is_ready, worker.version) == (False, 1)
    says(worker, "ready", 10.0 + LATE_S)  # it was back so quickly that nobody saw it drain
    assert (worker.is_ready, worker.version, worker.told_s) == (True, 2, None)


@pytest.mark.parametrize(
    ("url", "trusted", "may"),
    [
        ("https://203.0.113.7:3000", (), True),
        ("http://127.0.0.1:3000", (), True),
        ("http://[::1]:3000", (), True),
        ("http://localhost:3000", (), True),
        ("http://10.0.0.7:3000", (), False),
        ("http://10.0.0.7:3000", (ip_network("10.0.0.0/8"),), True),
        ("http://203.0.113.7:3000", (ip_network("10.0.0.0/8"),), False),
    ],
)
def test_a_secret_goes_over_plain_http_only_where_nobody_listens(
    url: str, trusted: tuple[Network, ...], may: bool
) -> None:
    if may:
        require_safe_way(url, trusted)
    else:
        with pytest.raises(BadRequest, match="--trust-network"):
            require_safe_way(url, trusted)
