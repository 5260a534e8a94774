"""Held calls: first come, first served."""

from __future__ import annotations

import asyncio

import pytest

from pyworker.engine.core.workers import Endpoint
from pyworker.engine.waiting import WaitingRoom
from pyworker.wire import RouteAnswer, WaitingAnswer


class Turns:
    """Answers polls: ``free`` says how many more get a worker."""

    def __init__(self) -> None:
        self.free = 0
        self.polled: list[int] = []
        self.room = WaitingRoom(self.poll)
        self.endpoint = Endpoint(1, "default")

    def poll(self, request_idx: int) -> RouteAnswer | WaitingAnswer:
        self.polled.append(request_idx)
        if not self.free:
            return WaitingAnswer(endpoint="default", request_idx=request_idx)
        self.free -= 1
        return RouteAnswer(endpoint="default", url="http://w", cost=1, reqnum=1, request_idx=request_idx, signature="")

    async def hold(self, *request_idxs: int, wait_s: float = 60.0) -> list[asyncio.Task[RouteAnswer | None]]:
        tasks = [asyncio.create_task(self.room.hold(self.endpoint, idx, wait_s)) for idx in request_idxs]
        await asyncio.sleep(0)  # each gets into the line
        return tasks


@pytest.fixture
def turns() -> Turns:
    return Turns()


async def test_calls_are_answered_in_the_order_they_came(turns: Turns) -> None:
    first, second, third = await turns.hold(2, 1, 3)
    turns.free = 2
    turns.room.serve(turns.endpoint)
    answers = [await first, await second]
    assert [answer and answer.request_idx for answer in answers] == [2, 1]
    assert not third.done()
    assert turns.polled == [2, 1, 3]
    turns.room.close()
    assert await third is None


async def test_a_call_that_was_given_up_does_not_use_up_a_worker(turns: Turns) -> None:
    left, stayed = await turns.hold(1, 2)
    left.cancel()
    await asyncio.wait([left])
    turns.free = 1
    turns.room.serve(turns.endpoint)
    assert (await stayed) is not None
    assert turns.polled == [2]


async def test_a_call_whose_time_is_over_leaves_the_line(turns: Turns) -> None:
    (short,) = await turns.hold(1, wait_s=0.001)
    assert await short is None
    turns.room.serve(turns.endpoint)
    assert turns.polled == []


async def test_nobody_is_held_after_closing(turns: Turns) -> None:
    turns.room.close()
    assert await turns.room.hold(turns.endpoint, 1, 60.0) is None
