"""Calls of an author's code that keep the event loop waiting, and with it every other request and the reports."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from pyworker.checking.author import AuthorCode
from pyworker.checking.findings import fault
from pyworker.wire_check import Finding

__all__ = ["BlockingCalls"]


class BlockingCalls:
    """Hears of them while ``listening``, by Python's audit events and in the place of ``time.sleep``.

    Each line is told once.
    """

    def __init__(self, author: AuthorCode, tell: Callable[[Finding], None]) -> None:
        self._author = author
        self._tell = tell
        self._told: set[str] = set()
        self.listening = False

    def install(self) -> None:
        """Before the worker is loaded, and for the rest of this process: an audit hook cannot be taken off."""
        sys.addaudithook(self._hear)
        sleep = time.sleep

        def heard_sleep(wait_s: float, /) -> None:
            self._hear(_SLEEP, (wait_s,))
            sleep(wait_s)

        time.sleep = heard_sleep

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.listening or not _blocks(event, arguments) or not _in_event_loop():
            return
        place = self._author.place_of_caller()
        if place is not None and place not in self._told:
            self._told.add(place)
            what = f"{_WORDS[event]} stops every other request, and the reports"
            self._tell(fault("blocking", place, what, _INSTEAD))  # at once: it may go on for ever


_SLEEP = "sleep of the time module"  # Python has an audit event of its own for it from 3.13 on
_WORDS = {
    _SLEEP: "time.sleep in the event loop",
    "socket.connect": "a blocking connection in the event loop",
    "os.system": "os.system in the event loop",
}
_INSTEAD = "await its asyncio form (asyncio.sleep, aiohttp), or `await asyncio.to_thread(...)`"


def _blocks(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == _SLEEP:
        return arguments[0] > 0
    if event == "socket.connect":
        one: socket.socket = arguments[0]
        return one.gettimeout() != 0
    return event == "os.system"


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
