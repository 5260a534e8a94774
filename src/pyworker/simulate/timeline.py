"""Virtual time: what is to happen, in order. A day passes in as long as its events take to compute."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

__all__ = ["Timeline"]


class Timeline:
    """Time begins at ``now_s``. What is due at the same time happens in the order in which it was asked for."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._due, (self.now_s + max(delay_s, 0.0), next(self._count), do))

    def every(self, interval_s: float, do: Callable[[], None], first_s: float = 0.0) -> None:
        """Do something again and again, for the first time after ``first_s``."""

        def again() -> None:
            do()
            self.after(interval_s, again)

        self.after(first_s, again)

    def run(self, until_s: float) -> None:
        """Let time pass."""
        while self._due and self._due[0][0] <= until_s:
            self.now_s, _, do = heapq.heappop(self._due)
            do()
        self.now_s = until_s
