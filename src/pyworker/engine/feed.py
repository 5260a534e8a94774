"""What changes, as it changes: events for all who listen (``/events``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any, Final

from pyworker.wire import dump

__all__ = ["Feed"]

MOST_UNREAD: Final = 1_000
MOST_LISTENERS: Final = 100
KEEP_ALIVE_S: Final = 15.0
_END: Final = b""


class Feed:
    """Whoever listens too slowly is told to read ``/state`` anew, and goes on from there."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._number = 0

    @property
    def is_full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._listeners) >= MOST_LISTENERS

    def publish(self, kind: str, data: Any) -> None:
        """Tell all who listen; costs nothing when nobody does."""
        if not self._listeners:
            return
        self._number += 1
        event = b"id: %d\nevent: %b\ndata: %b\n\n" % (self._number, kind.encode(), dump(data))
        for listener in self._listeners:
            self._tell(listener, event)

    async def listen(self) -> AsyncGenerator[bytes]:
        """Server-sent events (WHATWG HTML, 9.2), with a comment every KEEP_ALIVE_S, until the engine ends."""
        with self._listener() as listener:
            yield b"retry: 1000\n\n"
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        event = await listener.get()
                except TimeoutError:
                    event = b":\n\n"
                if event == _END:
                    return
                yield event

    def close(self) -> None:
        """Nobody is told anything more."""
        for listener in self._listeners:
            self._tell(listener, _END)

    @contextmanager
    def _listener(self) -> Generator[asyncio.Queue[bytes]]:
        listener: asyncio.Queue[bytes] = asyncio.Queue(MOST_UNREAD)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _tell(self, listener: asyncio.Queue[bytes], event: bytes) -> None:
        if listener.full():
            while not listener.empty():
                listener.get_nowait()
            listener.put_nowait(b"event: missed\ndata: {}\n\n")
        listener.put_nowait(event)
