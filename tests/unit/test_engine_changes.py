"""A change is made to its end, whoever waits for it."""

from __future__ import annotations

import asyncio

import pytest

from pyworker.engine.changes import Changes, whole
from pyworker.errors import StoreFull

pytestmark = pytest.mark.uvloop_too


class Counter:
    def __init__(self) -> None:
        self.changes = Changes()
        self.stored = self.known = 0
        self.go_on = asyncio.Event()

    @whole
    async def count(self, by: int = 1) -> int:
        self.stored += by
        await self.go_on.wait()
        self.known += by
        return self.known

    @whole
    async def count_twice(self) -> int:
        await self.count()
        return await self.count()

    @whole
    async def fail(self) -> None:
        await self.go_on.wait()
        raise StoreFull("no room")


async def test_who_waits_gets_what_comes_of_it_or_what_it_raises() -> None:
    counter = Counter()
    counter.go_on.set()
    assert await counter.count(by=3) == 3
    assert await counter.count_twice() == 5
    with pytest.raises(StoreFull):
        await counter.fail()


async def test_a_change_with_parts_goes_on_when_whoever_asked_for_it_is_cancelled() -> None:
    counter = Counter()
    asked = asyncio.create_task(counter.count_twice())
    while not counter.stored:  # noqa: ASYNC110 - it is a turn or two
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert (asked.cancelled(), counter.known) == (True, 0)
    counter.go_on.set()
    await counter.changes.close()
    assert (counter.stored, counter.known) == (2, 2)


async def test_the_end_waits_for_what_was_begun_and_the_log_says_what_was_not_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    counter = Counter()
    counter.changes.begin(counter.count())
    counter.changes.begin(counter.fail())
    asyncio.get_running_loop().call_soon(counter.go_on.set)
    await counter.changes.close()
    assert counter.known == 1
    assert [record.getMessage() for record in caplog.records] == [
        "a change that nobody waits for was not made: no room"
    ]
