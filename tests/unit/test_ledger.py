"""The ledger: one decision at a time. What holds after any sequence of them: properties/test_ledger_machine.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pyworker.errors import QueueFull
from pyworker.worker.core.ledger import Entry, Lane, Ledger, Outcome, Stage, valid_workload


def admit(ledger: Ledger, lane: Lane, workload: float = 1.0, **given: Any) -> Entry:
    return ledger.admit(lane, workload, 0.0, wake=lambda: None, **given)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def serial() -> Lane:
    return Lane("serial", 1)


@pytest.fixture
def parallel() -> Lane:
    return Lane("parallel", None)


# --- lanes ----------------------------------------------------------------------------------------


def test_a_request_works_at_once_when_its_lane_is_free(ledger: Ledger, serial: Lane) -> None:
    entry = admit(ledger, serial)
    assert entry.stage is Stage.WORKING
    assert repr(ledger) == "<Ledger received=1, served=0, errored=0, cancelled=0, rejected=0, waiting=0, working=1>"


def test_a_serial_lane_serves_in_the_order_of_arrival(ledger: Ledger, serial: Lane) -> None:
    first, second, third = (admit(ledger, serial) for _ in range(3))
    assert [entry.stage for entry in (second, third)] == [Stage.WAITING, Stage.WAITING]
    assert ledger.settle(first, Outcome.SERVED, 1.0) == [second]
    assert ledger.settle(second, Outcome.ERRORED, 2.0) == [third]
    assert ledger.settle(third, Outcome.CANCELLED, 3.0) == []
    assert repr(ledger) == "<Ledger received=3, served=1, errored=1, cancelled=1, rejected=0, waiting=0, working=0>"


def test_a_lane_of_n_slots_lets_n_work(ledger: Ledger) -> None:
    lane = Lane("three", 3)
    entries = [admit(ledger, lane) for _ in range(5)]
    assert [entry.stage for entry in entries] == [Stage.WORKING] * 3 + [Stage.WAITING] * 2
    assert ledger.settle(entries[1], Outcome.SERVED, 1.0) == [entries[3]]
    assert lane.working == 3


def test_a_lane_without_a_limit_lets_all_work(ledger: Ledger, parallel: Lane) -> None:
    assert {admit(ledger, parallel).stage for _ in range(100)} == {Stage.WORKING}


def test_lanes_do_not_wait_for_each_other(ledger: Ledger, serial: Lane, parallel: Lane) -> None:
    admit(ledger, serial)
    assert admit(ledger, parallel).stage is Stage.WORKING
    assert admit(ledger, Lane("another", 1)).stage is Stage.WORKING


def test_one_that_is_let_go_while_it_waits_frees_no_slot_and_holds_nobody_up(ledger: Ledger, serial: Lane) -> None:
    first, second, third = (admit(ledger, serial) for _ in range(3))
    assert ledger.settle(second, Outcome.CANCELLED, 1.0) == []
    assert ledger.settle(first, Outcome.SERVED, 2.0) == [third]


def test_a_request_settles_once(ledger: Ledger, serial: Lane) -> None:
    first, second = admit(ledger, serial), admit(ledger, serial)
    assert ledger.settle(first, Outcome.SERVED, 1.0) == [second]
    assert ledger.settle(first, Outcome.ERRORED, 2.0) == []
    assert (first.outcome, first.settled_s, serial.working) == (Outcome.SERVED, 1.0, 1)
    assert ledger.imbalance() == 0


def test_one_whose_turn_came_in_the_moment_it_is_let_go_hands_its_slot_on(ledger: Ledger, serial: Lane) -> None:
    first, second, third = (admit(ledger, serial) for _ in range(3))
    assert ledger.settle(first, Outcome.SERVED, 1.0) == [second]  # it is at work, but does not know it yet
    assert ledger.settle(second, Outcome.CANCELLED, 1.0) == [third]


# --- waiting and refusing -------------------------------------------------------------------------


def test_the_expected_wait_is_the_work_in_flight_at_the_capacity(ledger: Ledger, serial: Lane) -> None:
    ledger.capacity_per_s = 10.0
    admit(ledger, serial, 30.0)
    admit(ledger, serial, 20.0)
    assert ledger.expected_wait_s() == 5.0


def test_nobody_is_refused_while_the_capacity_is_unknown(ledger: Ledger, serial: Lane) -> None:
    for _ in range(10):
        admit(ledger, serial, 1e6, max_wait_s=0.0)
    assert ledger.expected_wait_s() == 0.0


def test_a_wait_above_the_limit_is_refused_and_booked_as_rejected(ledger: Ledger, serial: Lane) -> None:
    ledger.capacity_per_s = 10.0
    admit(ledger, serial, 100.0, max_wait_s=4.0)  # nobody is before it, however long it takes itself
    with pytest.raises(QueueFull) as refused:
        admit(ledger, serial, 1.0, max_wait_s=4.0)
    assert refused.value.retry_after_s == 6
    assert repr(ledger) == "<Ledger received=2, served=0, errored=0, cancelled=0, rejected=1, waiting=0, working=1>"
    assert ledger.imbalance() == 0


def test_a_wait_of_exactly_the_limit_is_taken(ledger: Ledger, serial: Lane) -> None:
    ledger.capacity_per_s = 10.0
    admit(ledger, serial, 40.0)
    assert admit(ledger, serial, 1.0, max_wait_s=4.0).stage is Stage.WAITING


# --- the ramp -------------------------------------------------------------------------------------


def test_the_ramp_starts_with_one_and_rises_with_each_request_served(ledger: Ledger, parallel: Lane) -> None:
    ledger.set_ramp(1, 0.0)
    entries = [admit(ledger, parallel) for _ in range(6)]
    assert parallel.working == 1
    assert ledger.settle(entries[0], Outcome.SERVED, 1.0) == entries[1:3]
    assert ledger.settle(entries[1], Outcome.ERRORED, 2.0) == entries[3:4]
    assert ledger.settle(entries[2], Outcome.SERVED, 3.0) == entries[4:6]


def test_a_ramp_that_rises_lets_those_who_wait_in_other_lanes_begin(ledger: Ledger, parallel: Lane) -> None:
    other = Lane("other", None)
    ledger.set_ramp(1, 0.0)
    first, elsewhere, waits_elsewhere = admit(ledger, parallel), admit(ledger, other), admit(ledger, other)
    assert (elsewhere.stage, waits_elsewhere.stage) == (Stage.WORKING, Stage.WAITING)
    assert ledger.settle(first, Outcome.SERVED, 1.0) == [waits_elsewhere]


def test_the_end_of_the_ramp_lets_everybody_begin_that_has_a_slot(ledger: Ledger, parallel: Lane, serial: Lane) -> None:
    ledger.set_ramp(1, 0.0)
    several = [admit(ledger, parallel) for _ in range(4)]
    one_by_one = [admit(ledger, serial) for _ in range(3)]
    assert ledger.set_ramp(None, 1.0) == several[1:]
    assert [entry.stage for entry in one_by_one] == [Stage.WORKING, Stage.WAITING, Stage.WAITING]


def test_the_ramp_ends_by_itself(ledger: Ledger, parallel: Lane) -> None:
    ledger.set_ramp(1, 0.0)
    served = 0
    while ledger.ramp is not None:
        ledger.settle(admit(ledger, parallel), Outcome.SERVED, 1.0)
        served += 1
    assert served == 64


def test_a_ramp_does_not_give_a_lane_more_slots_than_it_has(ledger: Ledger, serial: Lane) -> None:
    ledger.set_ramp(10, 0.0)
    assert [admit(ledger, serial).stage for _ in range(2)] == [Stage.WORKING, Stage.WAITING]


# --- what the engine knows them by ----------------------------------------------------------------


def test_a_request_index_counts_once_however_often_it_comes(ledger: Ledger, parallel: Lane) -> None:
    for request_idx in (7, 7, 8, 7):
        admit(ledger, parallel, request_idx=request_idx)
    assert ledger.distinct_requests == 2
    assert list(ledger.remembered_requests) == [7, 8]


def test_requests_without_an_index_are_each_counted(ledger: Ledger, parallel: Lane) -> None:
    admit(ledger, parallel)
    admit(ledger, parallel)
    assert (ledger.distinct_requests, list(ledger.remembered_requests)) == (2, [])


def test_requests_in_a_session_are_not_counted_as_distinct(ledger: Ledger, parallel: Lane) -> None:
    admit(ledger, parallel, request_idx=7, in_session=True)
    assert (ledger.distinct_requests, ledger.received.requests) == (0, 1)


# --- workload -------------------------------------------------------------------------------------


def test_sums_of_workload_are_exact(ledger: Ledger, parallel: Lane) -> None:
    entries = [admit(ledger, parallel, 0.1) for _ in range(10)]
    assert ledger.in_flight_workload == 1.0
    for entry in entries:
        ledger.settle(entry, Outcome.SERVED, 1.0)
    assert (ledger.settled[Outcome.SERVED].workload, ledger.in_flight_workload) == (1.0, 0.0)


@pytest.mark.parametrize("workload", [0, 0.0, 1, 2.5, 1e12, np.int64(3), np.float32(1.5)])
def test_a_number_from_zero_up_can_be_booked(ledger: Ledger, parallel: Lane, workload: float) -> None:
    assert valid_workload(workload)
    admit(ledger, parallel, float(workload))


@pytest.mark.parametrize(
    "workload",
    [-1, -0.001, math.nan, math.inf, -math.inf, 1e13, 1e308, 10**400, True, "3", None, [1], np.float64("nan")],
)
def test_anything_else_cannot(workload: object) -> None:
    assert not valid_workload(workload)


# --- booked anew ----------------------------------------------------------------------------------


def test_a_request_that_is_booked_anew_changes_what_was_received_and_what_is_in_flight(
    ledger: Ledger, parallel: Lane
) -> None:
    entry, other = admit(ledger, parallel, 100.0), admit(ledger, parallel, 5.0)
    ledger.correct(entry, 30.0)
    assert (ledger.received.workload, ledger.in_flight_workload, entry.workload) == (35.0, 35.0, 30.0)
    ledger.settle(entry, Outcome.SERVED, 1.0)
    ledger.settle(other, Outcome.SERVED, 1.0)
    assert (ledger.settled[Outcome.SERVED].workload, ledger.in_flight_workload, ledger.imbalance()) == (35.0, 0.0, 0)


def test_what_has_ended_is_not_booked_anew(ledger: Ledger, parallel: Lane) -> None:
    entry = admit(ledger, parallel, 100.0)
    ledger.settle(entry, Outcome.SERVED, 1.0)
    ledger.correct(entry, 1.0)
    assert (ledger.received.workload, ledger.settled[Outcome.SERVED].workload) == (100.0, 100.0)
