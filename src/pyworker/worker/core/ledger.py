"""The ledger: every request a worker received, from admission to its one settlement.

Pure and synchronous: a method changes the state and returns whom to wake; no lock, no event, no clock.

    received ──┬─> REJECTED                                    (429: the expected wait is above the limit)
               └─> WAITING ──> WORKING ──> SERVED | ERRORED | CANCELLED
                      └──────> CANCELLED | ERRORED | REJECTED  (let go, or waited longer than the limit)

At every moment, in requests and in workload:

    received = served + errored + cancelled + rejected + in flight

A request may be booked anew while it is in flight (``correct``), on both sides of that sum at once.

Workload is booked in whole millionths, so that sums are exact and the books balance to the last digit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from numbers import Real
from typing import cast

import msgspec

from pyworker.errors import QueueFull

__all__ = ["Entry", "Lane", "Ledger", "Outcome", "Stage", "Totals", "valid_workload"]

MICRO = 1_000_000
MOST_WORKLOAD = 1e12  # of one request, so that sums stay finite; more is a calculator gone wrong
_REMEMBERED_REQUESTS = 10_000
_RAMP_END = 64


class Stage(Enum):
    """How far a request has come."""

    WAITING = "waiting"
    WORKING = "working"
    SETTLED = "settled"


class Outcome(Enum):
    """How a request ended; the value is the word that the engine is told."""

    SERVED = "Success"
    ERRORED = "Error"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"

    __hash__ = object.__hash__  # Enum's own is Python code, and these are looked up for every request


@dataclass(slots=True, eq=False)
class Lane:
    """A first-in-first-out line in front of ``slots`` places to work (None: no limit).

    Serial handlers share one lane of one slot.
    """

    name: str
    slots: int | None
    working: int = 0
    waiting: OrderedDict[Entry, None] = field(default_factory=OrderedDict["Entry", None], repr=False)


def _nobody() -> None:
    """Nobody waits."""


class Entry(msgspec.Struct, eq=False):
    """One admitted request. Times in s on the ledger's clock; ``workload_micro`` in millionths."""

    lane: Lane
    workload_micro: int
    request_idx: int
    in_session: bool
    received_s: float
    wake: Callable[[], None]
    stage: Stage = Stage.WAITING
    started_s: float | None = None
    settled_s: float | None = None
    outcome: Outcome | None = None

    @property
    def workload(self) -> float:
        """The workload in the worker's unit."""
        return self.workload_micro / MICRO


@dataclass(slots=True)
class Totals:
    """Running totals since start, in requests and in millionths of workload."""

    requests: int = 0
    workload_micro: int = 0

    def add(self, workload_micro: int) -> None:
        """Book one request."""
        self.requests += 1
        self.workload_micro += workload_micro

    @property
    def workload(self) -> float:
        """The workload in the worker's unit."""
        return self.workload_micro / MICRO


def valid_workload(workload: object) -> bool:
    """Whether a calculator's result can be booked: a number from 0 to MOST_WORKLOAD."""
    if type(workload) is float:
        return 0 <= workload <= MOST_WORKLOAD
    if isinstance(workload, bool) or not isinstance(workload, Real):  # numpy's numbers are Real
        return False
    return bool(0 <= cast("float", workload) <= MOST_WORKLOAD)


class Ledger:
    """See the module.

    ``capacity_per_s`` (workload/s; 0.0 while unknown) is what waits are estimated with. ``ramp``, when not None, is a
    limit on every lane that rises by one with each request served, and ends: how a worker starts that was not
    benchmarked.
    """

    def __init__(self) -> None:
        self.capacity_per_s = 0.0
        self.ramp: int | None = None
        self.received = Totals()
        self.settled: dict[Outcome, Totals] = {outcome: Totals() for outcome in Outcome}
        self.distinct_requests = 0
        self._in_flight: dict[Entry, None] = {}
        self._in_flight_micro = 0
        self._known: OrderedDict[int, None] = OrderedDict()

    # --- what is going on ---

    @property
    def in_flight(self) -> Iterable[Entry]:
        """Requests that are waiting or working, oldest first."""
        return self._in_flight

    @property
    def remembered_requests(self) -> Iterable[int]:
        """Indices of requests received, the latest ones."""
        return self._known

    @property
    def in_flight_count(self) -> int:
        """How many requests are waiting or working."""
        return len(self._in_flight)

    @property
    def in_flight_workload(self) -> float:
        """Workload that is waiting or working."""
        return self._in_flight_micro / MICRO

    def expected_wait_s(self) -> float:
        """How long the work in flight will take at the measured capacity; 0 while that is unknown."""
        return self.in_flight_workload / self.capacity_per_s if self.capacity_per_s > 0 else 0.0

    def imbalance(self) -> int:
        """What the books do not account for, in requests or millionths of workload: 0, or there is a fault."""
        in_flight = Totals(len(self._in_flight), sum(entry.workload_micro for entry in self._in_flight))
        parts = [*self.settled.values(), in_flight]
        requests = self.received.requests - sum(part.requests for part in parts)
        workload = self.received.workload_micro - sum(part.workload_micro for part in parts)
        return abs(requests) or abs(workload)

    def __repr__(self) -> str:
        counts = ", ".join(f"{outcome.name.lower()}={books.requests}" for outcome, books in self.settled.items())
        waiting = sum(entry.stage is Stage.WAITING for entry in self._in_flight)
        working = len(self._in_flight) - waiting
        return f"<Ledger received={self.received.requests}, {counts}, {waiting=}, {working=}>"

    # --- what happens to a request ---

    def admit(
        self,
        lane: Lane,
        workload: float,
        now_s: float,
        *,
        wake: Callable[[], None],
        max_wait_s: float | None = None,
        request_idx: int = 0,
        in_session: bool = False,
    ) -> Entry:
        """Book a request; it works at once or waits in its lane until ``wake`` is called.

        Raises QueueFull (booked as rejected) when the expected wait is above ``max_wait_s``.
        """
        micro = round(workload * MICRO)
        self.received.add(micro)
        self._count_distinct(request_idx, in_session)
        if max_wait_s is not None and (wait_s := self.expected_wait_s()) > max_wait_s:
            self.settled[Outcome.REJECTED].add(micro)
            raise QueueFull(retry_after_s=wait_s - max_wait_s)
        entry = Entry(lane, micro, request_idx, in_session, now_s, wake)
        self._in_flight[entry] = None
        self._in_flight_micro += micro
        if not lane.waiting and self._has_slot(lane):
            self._start(entry, now_s)
        else:
            lane.waiting[entry] = None
        return entry

    def correct(self, entry: Entry, workload: float) -> None:
        """Book a request at another workload than it was admitted with. One that is settled stays as it is."""
        if entry.stage is Stage.SETTLED:
            return
        change = round(workload * MICRO) - entry.workload_micro
        entry.workload_micro += change
        self._in_flight_micro += change
        self.received.workload_micro += change

    def settle(self, entry: Entry, outcome: Outcome, now_s: float) -> list[Entry]:
        """End a request, wherever it is. Returns the requests whose turn has come: wake them.

        A request that is already settled stays as it is.
        """
        if entry.stage is Stage.SETTLED:
            return []
        if entry.stage is Stage.WORKING:
            entry.lane.working -= 1
        else:
            del entry.lane.waiting[entry]
        entry.stage, entry.outcome, entry.settled_s = Stage.SETTLED, outcome, now_s
        entry.wake = _nobody  # who waited may be forgotten, with all that he holds
        del self._in_flight[entry]
        self._in_flight_micro -= entry.workload_micro
        self.settled[outcome].add(entry.workload_micro)
        if self.ramp is not None and outcome is Outcome.SERVED:
            return self.set_ramp(self.ramp + 1 if self.ramp < _RAMP_END else None, now_s)
        return self._start_waiting(entry.lane, now_s)

    def set_ramp(self, ramp: int | None, now_s: float) -> list[Entry]:
        """Let so many requests work in every lane, or as many as it has slots (None).

        Returns the requests, of all lanes, whose turn has come: wake them.
        """
        self.ramp = ramp
        lanes = dict.fromkeys(entry.lane for entry in self._in_flight)
        return [started for lane in lanes for started in self._start_waiting(lane, now_s)]

    def _start_waiting(self, lane: Lane, now_s: float) -> list[Entry]:
        """Move requests from the front of the line to free slots."""
        started: list[Entry] = []
        while lane.waiting and self._has_slot(lane):
            entry, _ = lane.waiting.popitem(last=False)
            self._start(entry, now_s)
            started.append(entry)
        return started

    def _has_slot(self, lane: Lane) -> bool:
        if self.ramp is not None and lane.working >= self.ramp:
            return False
        return lane.slots is None or lane.working < lane.slots

    def _start(self, entry: Entry, now_s: float) -> None:
        entry.stage, entry.started_s = Stage.WORKING, now_s
        entry.lane.working += 1

    def _count_distinct(self, request_idx: int, in_session: bool) -> None:
        if in_session or request_idx in self._known:
            return
        self.distinct_requests += 1
        if request_idx:
            self._known[request_idx] = None
            if len(self._known) > _REMEMBERED_REQUESTS:
                self._known.popitem(last=False)
