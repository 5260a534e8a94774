"""How much may be asked with one key: requests and workload a minute, and requests at once. Pure.

What was used in a minute is counted by the second. An amount is free again 61 s after the second in which it was used,
so that no minute has more than the limit. Workload is known only once a worker has counted it: where that was more than
the limit, the rest is paid off at the limit's rate. Whoever claims too little gets no more than others in the end.

Counts begin anew when the engine does. Times in s on the engine's monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pyworker.errors import TooManyCalls

__all__ = ["NO_LIMITS", "KeyLimitReached", "KeyLimits", "KeyUse", "KeyUses"]

MINUTE_S: Final = 60.0
SECOND_S: Final = 1.0  # what is counted together
LOOK_AGAIN_S: Final = 1.0  # for requests under way of which nothing is heard any more


class KeyLimitReached(TooManyCalls):
    """This key's own limit is reached: come back after Retry-After."""


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may ask; 0 is no limit. Workload is in the workers' unit."""

    requests_per_minute: float = 0.0
    workload_per_minute: float = 0.0
    concurrent: int = 0  # requests that wait, or were sent to a worker and have not ended


NO_LIMITS: Final = KeyLimits()


@dataclass(slots=True)
class _Second:
    """What was used within one second, and the limit of then (a minute)."""

    second: int
    amount: float
    limit: float

    def paid_s(self, before_s: float) -> float:
        """Until when it takes up the limit's rate, when what was before it does until ``before_s``."""
        return max(before_s, self.second) + (MINUTE_S * self.amount / self.limit if self.limit > 0 else 0.0)

    def free_s(self, paid_s: float) -> float:
        """When it is free again; ``paid_s`` is its own."""
        return max(self.second + SECOND_S + MINUTE_S, paid_s)


@dataclass(slots=True)
class _Minute:
    """What was used lately."""

    _seconds: deque[_Second] = field(default_factory=deque[_Second])
    _paid_s: float = -math.inf  # until then what is forgotten here takes up the limit's rate

    def add(self, amount: float, limit: float, now_s: float) -> None:
        """So much is used now."""
        self._forget(now_s)
        second = math.floor(now_s)
        if self._seconds and self._seconds[-1].second >= second:
            self._seconds[-1].amount += amount
        else:
            self._seconds.append(_Second(second, amount, limit))

    def correct(self, used_s: float, change: float, limit: float, now_s: float) -> None:
        """It was more, or less, than was added at ``used_s``; what was more and is long ago counts as used now."""
        self._forget(now_s)
        if not self._change(used_s, change) and change > 0:
            self.add(change, limit, now_s)

    def give_back(self, used_s: float, amount: float) -> None:
        """So much of what was added at ``used_s`` was not used after all."""
        self._change(used_s, -amount)

    def _change(self, used_s: float, change: float) -> bool:
        """Whether that second is still counted."""
        for each in reversed(self._seconds):
            if each.second == math.floor(used_s):
                each.amount = max(0.0, each.amount + change)
                return True
        return False

    def used(self, now_s: float) -> float:
        """All that is not free again."""
        self._forget(now_s)
        return math.fsum(each.amount for each in self._seconds)

    def wait_s(self, amount: float, limit: float, now_s: float) -> float:
        """0 when so much may be used now; else in how many s, when nothing else is used until then.

        What alone is more than the limit may be used when nothing else was.
        """
        left = self.used(now_s)
        if _fits(left, amount, limit):
            return 0.0
        free_s = now_s
        for each, free_s in self._freed():  # noqa: B007 - the last one is wanted
            left -= each.amount
            if _fits(left, amount, limit):
                break
        return free_s - now_s

    def is_free(self, now_s: float) -> bool:
        """Whether nothing is left of what was used."""
        self._forget(now_s)
        return not self._seconds and self._paid_s <= now_s

    def _freed(self) -> Iterator[tuple[_Second, float]]:
        """Each second, and when what was used in it is free again; those times never fall."""
        paid_s = self._paid_s
        for each in self._seconds:
            paid_s = each.paid_s(paid_s)
            yield each, each.free_s(paid_s)

    def _forget(self, now_s: float) -> None:
        while self._seconds:
            paid_s = self._seconds[0].paid_s(self._paid_s)
            if self._seconds[0].free_s(paid_s) > now_s:
                break
            self._paid_s = paid_s
            self._seconds.popleft()


def _fits(used: float, amount: float, limit: float) -> bool:
    return used <= 0 or (used < limit and used + amount <= limit)


@dataclass(slots=True)
class _Counted:
    """What a request adds to the workload, and when it did so first."""

    workload: float
    used_s: float


@dataclass(slots=True)
class KeyUse:
    """What one key has used. Made by ``KeyUses.of``."""

    limits: KeyLimits
    _requests: _Minute = field(default_factory=_Minute)
    _workload: _Minute = field(default_factory=_Minute)
    _under_way: dict[int, float] = field(default_factory=dict[int, float])  # until when it is, without another sign
    _counted: dict[int, _Counted] = field(default_factory=dict[int, _Counted])
    _looked_s: float = -math.inf

    def require(self, workload: float, now_s: float) -> None:
        """Raises KeyLimitReached unless a new request of this workload may be begun."""
        self._require_concurrent(now_s)
        limits = self.limits
        if limits.requests_per_minute:
            wait_s = self._requests.wait_s(1.0, limits.requests_per_minute, now_s)
            if wait_s > 0:
                used = self._requests.used(now_s)
                raise _reached("requests a minute", limits.requests_per_minute, f"{used:g} are used", wait_s)
        if limits.workload_per_minute:
            wait_s = self._workload.wait_s(workload, limits.workload_per_minute, now_s)
            if wait_s > 0:
                used = f"{self._workload.used(now_s):.6g} is used, and this request is expected to add {workload:.6g}"
                raise _reached("workload a minute", limits.workload_per_minute, used, wait_s)

    def begin(self, request_idx: int, workload: float, now_s: float) -> None:
        """A request begins; its workload is what is expected, until it is counted."""
        self._requests.add(1.0, self.limits.requests_per_minute, now_s)
        self._workload.add(workload, self.limits.workload_per_minute, now_s)
        self._under_way[request_idx] = math.inf
        self._counted[request_idx] = _Counted(workload, now_s)

    def count(self, request_idx: int, workload: float, now_s: float) -> None:
        """A worker says how much work the request was. Said again, the last word holds."""
        counted = self._counted.get(request_idx)
        if counted is not None:
            change = workload - counted.workload
            self._workload.correct(counted.used_s, change, self.limits.workload_per_minute, now_s)
            counted.workload = workload

    def under_way(self, request_idx: int, until_s: float) -> None:
        """It is under way (again); at ``until_s`` it is no more, unless there is another sign of it."""
        if request_idx in self._counted:
            self._under_way[request_idx] = until_s

    def end(self, request_idx: int) -> None:
        """It is not under way any more."""
        self._under_way.pop(request_idx, None)

    def give_up(self, request_idx: int) -> None:
        """It is not under way any more, and no worker has had it: what it was expected to be was not used."""
        self.end(request_idx)
        counted = self._counted.get(request_idx)
        if counted is not None:
            self._workload.give_back(counted.used_s, counted.workload)
            counted.workload = 0.0

    def forget(self, request_idx: int) -> None:
        """Nothing more will be said of it; what it has used stays used."""
        self._under_way.pop(request_idx, None)
        self._counted.pop(request_idx, None)

    def is_over(self, now_s: float) -> bool:
        """Whether nothing that was used matters any more."""
        return not self._counted and self._requests.is_free(now_s) and self._workload.is_free(now_s)

    def _require_concurrent(self, now_s: float) -> None:
        most = self.limits.concurrent
        if most and len(self._under_way) >= most and now_s - self._looked_s >= LOOK_AGAIN_S:
            self._looked_s = now_s
            self._under_way = {idx: until_s for idx, until_s in self._under_way.items() if until_s > now_s}
        if most and len(self._under_way) >= most:
            used = f"{len(self._under_way)} are under way"
            raise _reached("requests at once", most, used, LOOK_AGAIN_S)


class KeyUses:
    """What each limited key has used, by its owner's name."""

    def __init__(self) -> None:
        self._by_owner: dict[str, KeyUse] = {}

    def __len__(self) -> int:
        return len(self._by_owner)

    def of(self, owner: str, limits: KeyLimits) -> KeyUse | None:
        """What this key has used, under the limits that it has now; None when it has none: then nothing is counted."""
        if limits == NO_LIMITS:
            self._by_owner.pop(owner, None)
            return None
        use = self._by_owner.get(owner)
        if use is None:
            use = self._by_owner[owner] = KeyUse(limits)
        use.limits = limits
        return use

    def forget(self, now_s: float) -> None:
        """Forget the keys of which nothing matters any more."""
        for owner in [owner for owner, use in self._by_owner.items() if use.is_over(now_s)]:
            del self._by_owner[owner]


def _reached(what: str, limit: float, used: str, wait_s: float) -> KeyLimitReached:
    back = "come back when one has ended" if what == "requests at once" else f"come back in {math.ceil(wait_s)} s"
    return KeyLimitReached(f"this key's limit of {limit:.6g} {what} is reached: {used}; {back}", retry_after_s=wait_s)
