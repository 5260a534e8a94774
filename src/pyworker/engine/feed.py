"""What changes, as it changes: events for all who listen (``/events``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from pyworker.wire import dump
from pyworker.wire_dashboard import Figures

__all__ = ["Feed"]

MOST_UNREAD: Final = 1_000
MOST_LISTENERS: Final = 100
FEW_UNREAD: Final = 5
KEEP_ALIVE_S: Final = 15.0
FIGURES: Final = "figures"
_END: Final = b""


class Feed:
    """Whoever listens too slowly is told to read ``/state`` anew, and goes on from there."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[bytes], bool] = {}  # and whether they want figures
        self._number = 0

    @property
    def is_full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._listeners) >= MOST_LISTENERS

    def publish(self, kind: str, data: Any) -> None:
        """Tell all who listen; costs nothing when nobody does."""
        if not self._listeners:
            return
        event = self._event(kind, data)
        for listener in self._listeners:
            self._tell(listener, event)

    @property
    def wants_figures(self) -> bool:
        """Whether anybody who listens wants figures."""
        return any(self._listeners.values())

    def tell_figures(self, figures: Figures) -> None:
        """For those who want them. Who reads slowly gets fewer: the next ones say all that these do."""
        event = self._event(FIGURES, figures)
        for listener, wants in self._listeners.items():
            if wants and listener.qsize() < FEW_UNREAD:
                listener.put_nowait(event)

    async def listen(self, figures: Callable[[], Figures] | None = None) -> AsyncGenerator[bytes]:
        """Server-sent events (WHATWG HTML, 9.2), with a comment every KEEP_ALIVE_S, until the engine ends.

        With ``figures`` those are told, too; first of all as they are now.
        """
        with self._listener(wants_figures=figures is not None) as listener:
            yield b"retry: 1000\n\n"
            if figures is not None:
                yield self._event(FIGURES, figures())
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

    def _event(self, kind: str, data: Any) -> bytes:
        self._number += 1
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self._number, kind.encode(), dump(data))

    @contextmanager
    def _listener(self, *, wants_figures: bool) -> Generator[asyncio.Queue[bytes]]:
        listener: asyncio.Queue[bytes] = asyncio.Queue(MOST_UNREAD)
        self._listeners[listener] = wants_figures
        try:
            yield listener
        finally:
            del self._listeners[listener]

    def _tell(self, listener: asyncio.Queue[bytes], event: bytes) -> None:
        if listener.full():
            while not listener.empty():
                listener.get_nowait()
            listener.put_nowait(b"event: missed\ndata: {}\n\n")
        listener.put_nowait(event)
