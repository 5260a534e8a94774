"""One call on its way to an answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from pyworker.client.retry import poll_after_s, retry_after_s
from pyworker.errors import NoAnswerInTime

__all__ = ["Pursuit"]


class Pursuit:
    """A call's deadline, its index at the engine, and what stood in its way last.

    ``began_s`` and ``found_s`` are when it began and when it had a worker, on the monotonic clock.
    """

    def __init__(self, timeout_s: float, on_obstacle: Callable[[str], None] | None = None) -> None:
        self.request_idx = 0
        self.reason = "the engine has not answered yet"
        self.began_s = time.monotonic()
        self.found_s = self.began_s
        self.worker_url = ""
        self.on_found: Callable[[], None] | None = None
        self._on_obstacle = on_obstacle
        self._timeout_s = timeout_s
        self._deadline_s = self.began_s + timeout_s
        self._attempts = 0
        self._polls = 0

    @property
    def left_s(self) -> float:
        """Time until the deadline."""
        return self._deadline_s - time.monotonic()

    def found(self, worker_url: str) -> None:
        """There is a worker for it; ``on_found`` is told, and may raise what ends this call."""
        self.found_s = time.monotonic()
        self.worker_url = worker_url
        if self.on_found is not None:
            self.on_found()

    def met(self, reason: str) -> None:
        """Something stands in the way; whoever wants to know is told."""
        self.reason = reason
        if self._on_obstacle is not None:
            self._on_obstacle(reason)

    def next_poll_s(self) -> float:
        """How long to wait before asking the engine again."""
        self._polls += 1
        return poll_after_s(self._polls, _chance())

    def next_attempt_s(self, asked_s: float | None) -> float | None:
        """How long to wait before trying another worker, ``asked_s`` being its Retry-After; None: there is no time."""
        self._attempts += 1
        self._polls = 0
        return retry_after_s(self._attempts, _chance(), asked_s=asked_s, left_s=self.left_s)

    def overdue(self) -> NoAnswerInTime:
        """The error that says so."""
        return NoAnswerInTime(f"no worker answered within {self._timeout_s:g} s; the last obstacle: {self.reason}")


def _chance() -> float:
    return random.random()  # noqa: S311 - it spreads clients out, and keeps no secret
