"""What a person sees of a call that waits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Final, TextIO

__all__ = ["Waiting"]

FIRST_S: Final = 1.0
EVERY_S: Final = 5.0


class Waiting:
    """Says on ``out`` what a call waits for: every few seconds on a terminal, elsewhere whenever that changes.

    ``at_first`` is what it waits for while nothing stands in the way.
    """

    def __init__(self, out: TextIO, at_first: str = "the engine has not answered yet") -> None:
        self._out = out
        self._at_first = at_first
        self._began_s = time.monotonic()
        self._reason = ""

    def heard(self, reason: str) -> None:
        """What stands in the way now."""
        is_news = reason != self._reason
        self._reason = reason
        if is_news and not self._out.isatty():
            self._say()

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """While the block waits."""
        self._began_s = time.monotonic()
        reminding = asyncio.create_task(self._remind()) if self._out.isatty() else None
        try:
            yield
        finally:
            if reminding is not None:
                reminding.cancel()
                await asyncio.wait([reminding])

    async def _remind(self) -> None:
        await asyncio.sleep(FIRST_S)
        while True:
            self._say()
            await asyncio.sleep(EVERY_S)

    def _say(self) -> None:
        waited_s = time.monotonic() - self._began_s
        self._out.write(f"waiting for {waited_s:.0f} s: {self._reason or self._at_first}\n")
        self._out.flush()
