"""Calls that are held, and the line they stand in."""

from __future__ import annotations

import asyncio

import pytest

from pyworker.engine.core.line import ABSENT_S, Line
from pyworker.engine.waiting import WaitingRoom


async def held(room: WaitingRoom, *request_idxs: int, wait_s: float = 60.0) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(room.hold(idx, wait_s)) for idx in request_idxs]
    await asyncio.sleep(0)  # each comes in
    return tasks


async def test_a_held_call_goes_on_when_it_is_woken_and_no_other_does() -> None:
    room = WaitingRoom()
    first, second = await held(room, 1, 2)
    room.wake([2, 3])
    await second
    assert not first.done()
    room.close()
    await first
    assert len(room) == 0


async def test_a_call_that_was_given_up_leaves_nothing() -> None:
    room = WaitingRoom()
    (left,) = await held(room, 1)
    left.cancel()
    await asyncio.wait([left])
    assert len(room) == 0
    room.wake([1])


async def test_a_call_whose_time_is_over_goes_on() -> None:
    room = WaitingRoom()
    await room.hold(1, 0.001)
    assert len(room) == 0


async def test_of_two_calls_for_one_request_the_first_is_let_go() -> None:
    room = WaitingRoom()
    first, second = await held(room, 1, 1)
    await first
    assert not second.done()
    room.wake([1])
    await second


async def test_nobody_is_held_after_closing() -> None:
    room = WaitingRoom()
    room.close()
    await room.hold(1, 60.0)


# --- the line ---


@pytest.fixture
def line() -> Line:
    line = Line()
    for idx in (5, 3, 4):
        line.join(idx, 100.0, 0.0)
    return line


def test_the_line_keeps_the_order_in_which_requests_came(line: Line) -> None:
    assert [line.position(idx) for idx in (5, 3, 4)] == [1, 2, 3]
    assert line.first(1.0) == 5
    line.leave(5)
    assert (line.first(1.0), line.position(4), line.claimed) == (3, 2, 200.0)


def test_asking_again_keeps_the_place(line: Line) -> None:
    line.join(5, 100.0, 9.0)
    assert (line.position(5), len(line), line.claimed) == (1, 3, 300.0)


def test_who_had_a_worker_and_lost_it_comes_to_the_front(line: Line) -> None:
    line.join(9, 50.0, 0.0, at_front=True)
    assert [line.position(idx) for idx in (9, 5, 4)] == [1, 2, 4]
    assert line.first(0.0) == 9


def test_a_place_that_nobody_asks_for_is_given_up_unless_it_is_held(line: Line) -> None:
    line.hold(3, 0.0, held=True)
    assert line.first(ABSENT_S) == 3
    assert (len(line), line.position(5), line.position(4)) == (2, 0, 2)
    line.hold(3, ABSENT_S, held=False)
    assert line.first(2 * ABSENT_S - 0.1) == 3
    assert line.first(2 * ABSENT_S) is None
    assert (len(line), line.claimed) == (0, 0.0)
