"""A request's turn: waiting, working and settling, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pyworker.errors import ModelFailed, QueueFull
from pyworker.worker.books import Books, Turn
from pyworker.worker.core.ledger import Lane, Outcome, Stage


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def serial() -> Lane:
    return Lane("serial", 1)


def turn(books: Books, lane: Lane, *, max_wait_s: float | None = None, workload: float = 10.0) -> Turn:
    return books.turn(lane, workload, max_wait_s=max_wait_s, request_idx=7, in_session=False)


async def working(one: Turn, until: asyncio.Event, outcome: Outcome = Outcome.SERVED) -> None:
    async with one:
        await until.wait()
        one.outcome = outcome


async def is_at_work(one: Turn) -> None:
    while one.entry.stage is not Stage.WORKING:  # noqa: ASYNC110 - an entry has no event of its own
        await asyncio.sleep(0)


async def test_one_works_after_the_other(books: Books, serial: Lane) -> None:
    first_done, second_done = asyncio.Event(), asyncio.Event()
    first, second = turn(books, serial), turn(books, serial)
    tasks = [asyncio.create_task(working(first, first_done)), asyncio.create_task(working(second, second_done))]
    await asyncio.sleep(0)
    assert (first.entry.stage, second.entry.stage) == (Stage.WORKING, Stage.WAITING)
    first_done.set()
    await is_at_work(second)
    second_done.set()
    await asyncio.gather(*tasks)
    assert books.ledger.settled[Outcome.SERVED].requests == 2


async def test_a_turn_that_comes_before_it_is_waited_for_is_not_missed(books: Books, serial: Lane) -> None:
    first, second = turn(books, serial), turn(books, serial)
    async with first:
        pass
    async with second:
        assert second.entry.stage is Stage.WORKING


@pytest.mark.parametrize(
    ("error", "gone", "outcome"),
    [
        (ModelFailed(), False, Outcome.ERRORED),
        (RuntimeError(), False, Outcome.ERRORED),
        (ConnectionResetError(), False, Outcome.CANCELLED),
        (asyncio.CancelledError(), True, Outcome.CANCELLED),
        (asyncio.CancelledError(), False, Outcome.ERRORED),
        (QueueFull(), False, Outcome.REJECTED),
    ],
)
async def test_how_it_ends_decides_how_it_is_settled(
    books: Books, serial: Lane, error: BaseException, gone: bool, outcome: Outcome
) -> None:
    one = turn(books, serial)
    one.client_gone = lambda: gone
    with pytest.raises(type(error)):
        async with one:
            raise error
    assert one.entry.outcome is outcome


async def test_one_that_says_nothing_has_failed(books: Books, serial: Lane) -> None:
    async with turn(books, serial) as one:
        pass
    assert one.entry.outcome is Outcome.ERRORED


async def test_one_that_waits_longer_than_its_limit_is_rejected_then(books: Books, serial: Lane) -> None:
    done = asyncio.Event()
    task = asyncio.create_task(working(turn(books, serial), done))
    late = turn(books, serial, max_wait_s=0.01)
    with pytest.raises(QueueFull):
        async with late:
            raise AssertionError("it never works")
    assert late.entry.outcome is Outcome.REJECTED
    done.set()
    await task
    assert books.ledger.imbalance() == 0


async def test_a_turn_that_comes_as_the_limit_is_reached_is_taken(books: Books, serial: Lane) -> None:
    first, second = turn(books, serial), turn(books, serial, max_wait_s=0.0)
    waiting = asyncio.create_task(working(second, asyncio.Event()))
    await asyncio.sleep(0)  # it waits, and its limit is reached in the next turn of the loop
    books.settle(first.entry, Outcome.SERVED)
    await asyncio.sleep(0.01)
    assert second.entry.stage is Stage.WORKING
    waiting.cancel()
    await asyncio.wait([waiting])
    assert serial.working == 0


async def test_one_cancelled_in_the_moment_of_its_turn_hands_its_slot_on(books: Books, serial: Lane) -> None:
    """Field fault 24."""
    first, second, third = turn(books, serial), turn(books, serial), turn(books, serial)
    tasks = [asyncio.create_task(working(one, asyncio.Event())) for one in (second, third)]
    await asyncio.sleep(0)
    books.settle(first.entry, Outcome.SERVED)
    tasks[0].cancel()
    await is_at_work(third)
    assert second.entry.outcome is Outcome.CANCELLED
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert (serial.working, books.ledger.imbalance()) == (0, 0)


# --- capacity -------------------------------------------------------------------------------------


async def test_without_a_benchmark_it_starts_with_one_and_learns(books: Books) -> None:
    books.learn_capacity()
    lane, done = Lane("parallel", None), asyncio.Event()
    turns = [turn(books, lane) for _ in range(3)]
    tasks = [asyncio.create_task(working(one, done)) for one in turns]
    await asyncio.sleep(0)
    assert [one.entry.stage for one in turns] == [Stage.WORKING, Stage.WAITING, Stage.WAITING]
    done.set()
    await asyncio.gather(*tasks)
    assert books.ledger.capacity_per_s > 0


ENDS: list[Callable[[Books], None]] = [
    lambda books: books.set_capacity(100.0),
    lambda books: books.settle(next(iter(books.ledger.in_flight)), Outcome.SERVED),
]


@pytest.mark.parametrize("end", ENDS)
async def test_whoever_waits_for_the_ramp_is_woken_when_it_rises_or_ends(
    books: Books, end: Callable[[Books], None]
) -> None:
    """In other lanes too."""
    books.learn_capacity()
    lanes = [Lane("one", None), Lane("another", None)]
    turns = [turn(books, lane) for lane in lanes for _ in range(2)]
    tasks = [asyncio.create_task(working(one, asyncio.Event())) for one in turns]
    await asyncio.sleep(0)
    end(books)
    for one in turns:
        if one.entry.stage is not Stage.SETTLED:
            await is_at_work(one)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert books.ledger.imbalance() == 0


async def test_a_measured_capacity_is_not_learned_over(books: Books, serial: Lane) -> None:
    books.set_capacity(100.0)
    books.learn_capacity()
    async with turn(books, serial) as one:
        one.outcome = Outcome.SERVED
    assert (books.ledger.capacity_per_s, books.ledger.ramp) == (100.0, None)


# --- news -----------------------------------------------------------------------------------------


async def test_every_change_is_news_and_a_settled_request_is_told(books: Books, serial: Lane) -> None:
    versions = [books.version]
    books.set_capacity(1.0)
    versions.append(books.version)
    one = turn(books, serial)
    versions.append(books.version)
    async with one:
        one.outcome = Outcome.SERVED
    versions.append(books.version)
    assert versions == sorted(set(versions))
    assert [record.request_idx for record in books.outbox.batch()] == [7]


async def test_waiting_for_a_settled_request_ends_with_one_or_with_the_time(books: Books, serial: Lane) -> None:
    await books.settled_or(0.001)
    waiting = asyncio.create_task(books.settled_or(60.0))
    await asyncio.sleep(0)
    async with turn(books, serial):
        pass
    await waiting
