"""Whether the terminal that a program runs on is still there.

When a terminal is closed, SIGHUP goes to its session's leader. Under `make demo` that is make, which waits for the demo
and ends nobody; so the demo looks by itself.
"""

from __future__ import annotations

import asyncio
import select
import sys
from typing import Final

__all__ = ["hung_up"]

LOOK_AGAIN_S: Final = 0.5


async def hung_up() -> None:
    """Until stdout's terminal is gone; for ever when it is none."""
    if not sys.stdout.isatty():
        await asyncio.Event().wait()
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # of a hang-up one is told in any case
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):  # noqa: ASYNC110 - no event
        await asyncio.sleep(LOOK_AGAIN_S)
