"""What is left to be said when a bridge between two websockets is cancelled."""

from __future__ import annotations

import asyncio

from pyworker.worker.bridge import Bridge, End, Side


class Broken:
    """A socket of a client that broke in a way that nobody thought of."""

    async def receive(self) -> object:
        await asyncio.sleep(0)
        raise RuntimeError("nobody thought of this")


class Silent:
    """A socket from which nothing comes."""

    async def receive(self) -> object:
        return await asyncio.Event().wait()


async def test_a_fault_in_the_last_words_takes_no_cancellations_place() -> None:
    bridge = Bridge(Broken(), Silent(), lambda: True)  # pyright: ignore[reportArgumentType]
    carrying = asyncio.create_task(bridge.carry())
    await asyncio.sleep(0)
    carrying.cancel()
    await asyncio.wait([carrying])
    assert carrying.cancelled()
    assert bridge.end is None or bridge.end == End(Side.CLIENT, None)
