"""What the engine is told: reports that give back, finished requests until accepted."""

from __future__ import annotations

from typing import Any

import pytest

from pyworker.errors import QueueFull
from pyworker.worker.core.ledger import Entry, Lane, Ledger, Outcome
from pyworker.worker.core.status import Finished, Outbox, Tally, TallyBook, finished, on_wire


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def lane() -> Lane:
    return Lane("parallel", None)


def admit(ledger: Ledger, lane: Lane, workload: float, **given: Any) -> Entry:
    return ledger.admit(lane, workload, 10.0, wake=lambda: None, **given)


def loads(tally: Tally) -> dict[str, float]:
    return {"new": tally.new_load, "rejected": tally.rejected_load, "served": tally.served_load}


# --- reports --------------------------------------------------------------------------------------


def test_a_report_says_what_is_new_since_the_last_delivered_one(ledger: Ledger, lane: Lane) -> None:
    book = TallyBook(ledger)
    first, second = admit(ledger, lane, 30.0), admit(ledger, lane, 12.5)
    ledger.settle(first, Outcome.SERVED, 11.0)
    tally = book.take_tally(disk_gb=5.0)
    assert loads(tally) == {"new": 42.5, "rejected": 0.0, "served": 30.0}
    assert tally.additional_disk_gb == 5.0
    book.delivered(tally)
    ledger.settle(second, Outcome.SERVED, 12.0)
    assert loads(book.take_tally(5.5)) == {"new": 0.0, "rejected": 0.0, "served": 12.5}
    assert book.take_tally(5.5).additional_disk_gb == 0.5


def test_a_report_that_is_lost_is_said_again_with_what_came_since(ledger: Ledger, lane: Lane) -> None:
    book = TallyBook(ledger)
    admit(ledger, lane, 30.0)
    book.take_tally(0.0)
    admit(ledger, lane, 10.0)
    assert loads(book.take_tally(0.0))["new"] == 40.0


def test_what_happens_while_a_report_is_in_the_air_belongs_to_the_next(ledger: Ledger, lane: Lane) -> None:
    book = TallyBook(ledger)
    first = admit(ledger, lane, 30.0)
    in_the_air = book.take_tally(0.0)
    admit(ledger, lane, 10.0)
    ledger.settle(first, Outcome.SERVED, 11.0)
    book.delivered(in_the_air)
    assert loads(book.take_tally(0.0)) == {"new": 10.0, "rejected": 0.0, "served": 30.0}


def test_cancelled_work_is_taken_off_and_never_makes_it_negative(ledger: Ledger, lane: Lane) -> None:
    book = TallyBook(ledger)
    first, second = admit(ledger, lane, 30.0), admit(ledger, lane, 10.0)
    ledger.settle(second, Outcome.CANCELLED, 11.0)
    tally = book.take_tally(0.0)
    assert tally.new_load == 30.0
    book.delivered(tally)
    ledger.settle(first, Outcome.CANCELLED, 12.0)
    assert book.take_tally(0.0).new_load == 0.0


def test_rejected_work_is_not_new_load_whether_at_once_or_after_waiting(ledger: Ledger) -> None:
    book, serial = TallyBook(ledger), Lane("serial", 1)
    ledger.capacity_per_s = 1.0
    admit(ledger, serial, 30.0)
    with pytest.raises(QueueFull):
        admit(ledger, serial, 5.0, max_wait_s=10.0)
    waited = admit(ledger, serial, 7.0)
    ledger.settle(waited, Outcome.REJECTED, 11.0)
    assert loads(book.take_tally(0.0)) == {"new": 30.0, "rejected": 12.0, "served": 0.0}


def test_work_that_failed_counts_as_new_load_and_not_as_served(ledger: Ledger, lane: Lane) -> None:
    book = TallyBook(ledger)
    ledger.settle(admit(ledger, lane, 30.0), Outcome.ERRORED, 11.0)
    assert loads(book.take_tally(0.0)) == {"new": 30.0, "rejected": 0.0, "served": 0.0}


# --- finished requests ----------------------------------------------------------------------------


def test_a_finished_request_is_told_with_its_times(ledger: Ledger, lane: Lane) -> None:
    entry = admit(ledger, lane, 1.0, request_idx=7)
    ledger.settle(entry, Outcome.SERVED, 12.5)
    record = finished(entry)
    assert record == Finished(7, Outcome.SERVED, received_s=10.0, started_s=10.0, settled_s=12.5, workload=1.0)


def test_what_the_engine_cannot_know_is_not_told(ledger: Ledger, lane: Lane) -> None:
    """No index, in a session, or not ended yet."""
    entries = [admit(ledger, lane, 1.0), admit(ledger, lane, 1.0, request_idx=7, in_session=True)]
    for entry in entries:
        ledger.settle(entry, Outcome.SERVED, 11.0)
    entries.append(admit(ledger, lane, 1.0, request_idx=8))
    assert [finished(entry) for entry in entries] == [None, None, None]


@pytest.mark.parametrize(
    ("outcome", "success", "status"),
    [
        (Outcome.SERVED, True, "Success"),
        (Outcome.CANCELLED, True, "Cancelled"),
        (Outcome.ERRORED, False, "Error"),
        (Outcome.REJECTED, False, "Rejected"),
    ],
)
def test_each_outcome_has_its_word(outcome: Outcome, success: bool, status: str) -> None:
    told = on_wire(Finished(7, outcome, 10.0, 11.0, 12.5), epoch_offset_s=1000.0)
    assert (told.request_idx, told.success, told.status) == (7, success, status)
    assert (told.entered_queue_at, told.work_started_at, told.work_completed_at) == (1010.0, 1011.0, 1012.5)


def test_one_that_never_worked_has_no_start() -> None:
    assert on_wire(Finished(7, Outcome.CANCELLED, 10.0, None, 12.5), epoch_offset_s=0.0).work_started_at is None


def some(number: int) -> Finished:
    return Finished(number, Outcome.SERVED, 1.0, 1.0, 2.0)


def test_the_outbox_keeps_all_until_they_are_accepted() -> None:
    outbox = Outbox()
    for number in (1, 2, 3):
        outbox.add(some(number))
    batch = outbox.batch(most=2)
    assert [one.request_idx for one in batch] == [1, 2]
    assert outbox.batch(most=2) == batch
    outbox.accepted(batch)
    assert [one.request_idx for one in outbox.batch()] == [3]


def test_two_requests_that_look_the_same_are_two() -> None:
    outbox = Outbox()
    outbox.add(some(1))
    batch = outbox.batch()
    outbox.add(some(1))
    outbox.accepted(batch)
    assert len(outbox) == 1


def test_a_full_outbox_drops_the_oldest_even_of_a_batch_in_the_air() -> None:
    outbox = Outbox(bound=3)
    for number in (1, 2, 3):
        outbox.add(some(number))
    batch = outbox.batch(most=2)
    outbox.add(some(4))
    assert (len(outbox), outbox.dropped) == (3, 1)
    outbox.accepted(batch)
    assert [one.request_idx for one in outbox.batch()] == [3, 4]
