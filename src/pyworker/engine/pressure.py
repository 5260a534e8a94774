"""Whether the engine has more to do than it can: how late its event loop is, and how many calls it holds."""

from __future__ import annotations

import asyncio
import time
from typing import Final

__all__ = ["Pressure"]

LOOK_EVERY_S: Final = 0.1
LATE_S: Final = 1.0  # on a machine that is busy with other things a loop is late by a few tenths now and then
MOST_HELD: Final = 10_000


class Pressure:
    """``late_s`` is by how much the event loop was late when it was last looked at, at its worst in the last second."""

    def __init__(self) -> None:
        self.late_s = 0.0
        self.held = 0

    @property
    def is_high(self) -> bool:
        """New work is turned away at once, so that what is there gets done."""
        return self.late_s > LATE_S

    @property
    def may_hold(self) -> bool:
        """Whether another call may be held."""
        return self.held < MOST_HELD

    async def keep_looking(self) -> None:
        """Until cancelled."""
        while True:
            due_s = time.monotonic() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            self.late_s = max(time.monotonic() - due_s, self.late_s * 0.7)  # forgotten within a second or so
