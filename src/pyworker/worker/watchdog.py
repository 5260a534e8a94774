"""When the author's code blocks the event loop: say so, with the place, and keep the engine from giving the worker up.

A thread of its own looks whether the loop still turns. While it does not, the thread repeats the last report with
nothing new in it, so that no number is told twice.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

__all__ = ["Watchdog"]

log = logging.getLogger("pyworker.watchdog")

BEAT_S = 0.25
BLOCKED_AFTER_S = 1.0
POST_TIMEOUT_S = 2.0


class Watchdog:
    """``repeat()`` gives the body of a report that says nothing new, b"" for none."""

    def __init__(self, addrs: Sequence[str], repeat: Callable[[], bytes], *, interval_s: float) -> None:
        self._addrs = addrs
        self._repeat = repeat
        self._interval_s = interval_s
        self._beat_s = time.monotonic()
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self.blocked_count = 0

    async def run(self) -> None:
        """Until cancelled: beat, while the thread listens."""
        self._loop_thread = threading.get_ident()
        self._beat_s = time.monotonic()
        thread = threading.Thread(target=self._watch, name="pyworker-watchdog", daemon=True)
        thread.start()
        try:
            while True:
                self._beat_s = time.monotonic()
                await asyncio.sleep(BEAT_S)
        finally:
            self._stop.set()

    def _watch(self) -> None:
        said = False
        while not self._stop.wait(BEAT_S):
            silent_s = time.monotonic() - self._beat_s
            if silent_s < BLOCKED_AFTER_S + BEAT_S:
                said = False
                continue
            if not said:
                said = True
                self.blocked_count += 1
                log.error(
                    "the event loop is blocked since %.1f s: nothing is served; it is at %s", silent_s, self._place()
                )
            self._post_repeat()
            self._stop.wait(self._interval_s)

    def _place(self) -> str:
        """Where the loop's thread is: file, line and function."""
        frame = sys._current_frames().get(self._loop_thread)  # pyright: ignore[reportPrivateUsage]
        if frame is None:
            return "a place unknown"
        last = traceback.extract_stack(frame)[-1]
        return f"{last.filename}:{last.lineno} in {last.name}"

    def _post_repeat(self) -> None:
        body = self._repeat()
        if not body:
            return
        for addr in self._addrs:
            request = urllib.request.Request(  # noqa: S310 - settings admit http and https only
                addr + "/worker_status/", data=body, headers={"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=POST_TIMEOUT_S):  # noqa: S310
                    return
            except (urllib.error.URLError, OSError):
                continue
