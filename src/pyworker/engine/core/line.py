"""Requests that wait for a worker, in the order in which they came. Pure.

Whoever waits either is held (its call stays open) or polls. A place in the line is kept for as long as its request is
held, or was asked for within ABSENT_S; then it is given up. Times in s on the engine's monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ABSENT_S", "Line"]

ABSENT_S: Final = 10.0  # clients in the field poll every 1 to 5 s


@dataclass(slots=True)
class _Place:
    number: int
    claimed: float
    seen_s: float
    held: bool = False


@dataclass(slots=True)
class Line:
    """The line of one endpoint. ``claimed`` is the workload of all who stand in it, as clients claimed it."""

    claimed: float = 0.0
    _places: OrderedDict[int, _Place] = field(default_factory=OrderedDict[int, _Place], repr=False)
    _next: int = 0  # numbers go up from 1 towards the end, and down from 0 for those who come back to the front
    _front: int = 1

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, request_idx: int) -> bool:
        return request_idx in self._places

    def join(self, request_idx: int, claimed: float, now_s: float, *, at_front: bool = False) -> None:
        """Stand at the end; at the front whoever had a worker already and lost it. Who stands there stays."""
        place = self._places.get(request_idx)
        if place is not None:
            place.seen_s = now_s
            return
        if at_front:
            self._front -= 1
        else:
            self._next += 1
        self._places[request_idx] = _Place(self._front if at_front else self._next, claimed, now_s)
        if at_front:
            self._places.move_to_end(request_idx, last=False)
        self.claimed += claimed

    def hold(self, request_idx: int, now_s: float, *, held: bool) -> None:
        """Its call stays open from now on, or no longer does."""
        place = self._places.get(request_idx)
        if place is not None:
            place.held, place.seen_s = held, now_s

    def is_held(self, request_idx: int) -> bool:
        """Whether its call stays open."""
        place = self._places.get(request_idx)
        return place is not None and place.held

    def leave(self, request_idx: int) -> None:
        """It has a worker, or gave up."""
        place = self._places.pop(request_idx, None)
        if place is not None:
            self.claimed = self.claimed - place.claimed if self._places else 0.0

    def first(self, now_s: float) -> int | None:
        """Whose turn it is; places that were given up are taken out. None when nobody waits."""
        while self._places:
            request_idx, place = next(iter(self._places.items()))
            if place.held or now_s - place.seen_s < ABSENT_S:
                return request_idx
            self.leave(request_idx)
        return None

    def position(self, request_idx: int) -> int:
        """At most so far from the front, the first being 1; 0 for whoever does not wait.

        Those who left from the middle count until the line has moved past them: to count them out would cost a walk
        along the line for every call.
        """
        place = self._places.get(request_idx)
        if place is None:
            return 0
        first = next(iter(self._places.values()))
        return min(len(self._places), place.number - first.number + 1)
