"""A worker and its model as the engine meets them: it takes time to start, serves one request after the other, and may
fail. What it says goes to the engine as the messages of the wire.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, Final

import msgspec

from pyworker.simulate.timeline import Timeline
from pyworker.tickets import LIFE_S
from pyworker.wire import FinishedRequest, WorkerStatus

__all__ = ["LIES", "Behaviour", "Machine", "Power"]


LIES: Final[Sequence[Mapping[str, Any]]] = (
    {"max_perf": math.nan},
    {"max_perf": -5.0},
    {"max_perf": 1e308},
    {"cur_load": math.nan},
    {"cur_load": -1e308},
    {"cur_load": 1e308},
    {"num_requests_recieved": 0},
    {"working_request_idxs": [1, 2, 3]},
    {"mtoken": "a guess"},
    {"id": 1},
    {"url": "http://127.0.0.1:9"},
)


class Power(Enum):
    """What a machine does."""

    OFF = "off"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    BROKEN = "broken"  # its processes ended by themselves


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How machines of a kind behave. Chances are from 0 to 1."""

    capacity_per_s: float = 100.0
    capacity_spread: float = 0.0  # each differs from the others by at most so much, as a share
    first_start_s: float = 40.0
    restart_s: float = 8.0
    start_spread: float = 0.3
    fails_to_start: float = 0.0  # chance for each start
    crash_every_s: float = 0.0  # on the mean, while ready; 0: never
    drain_limit_s: float = 30.0
    bad_versions: frozenset[int] = frozenset()  # of these none starts
    rejects_above_s: float = math.inf  # a request that would wait longer is answered 429
    lies: float = 0.0  # chance for each report


@dataclass(slots=True)
class _Job:
    request_idx: int
    cost: float
    settle: Callable[[bool], None]


class Machine:
    """``number`` and ``mtoken`` are the worker's, another mtoken at each start; ``version`` is what it starts next."""

    def __init__(
        self, number: int, mtoken: str, version: int, behaviour: Behaviour, random: Random, timeline: Timeline
    ) -> None:
        self.number, self.mtoken, self.version = number, mtoken, version
        self.url = f"http://127.0.0.1:{10_000 + number % 50_000}"
        self.power = Power.OFF
        self.served: list[int] = []  # request_idx, in order
        self.outbox: list[FinishedRequest] = []
        self.crashes_allowed = True  # and lies
        self.rejected = 0
        self._started_s = 0.0
        self._behaviour, self._random, self._timeline = behaviour, random, timeline
        self._capacity_per_s = behaviour.capacity_per_s * random.uniform(
            1.0 - behaviour.capacity_spread, 1.0 + behaviour.capacity_spread
        )
        self._queue: deque[_Job] = deque()
        self._received = 0
        self._served_cost = 0.0
        self._run = 0  # counts starts: what was meant for an earlier one does not happen
        self._loaded_once = False
        self._stopped: Callable[[], None] | None = None

    # --- its provider ---

    def start(self, mtoken: str) -> None:
        """Its processes start; it loads."""
        self._run += 1
        self.mtoken, self._started_s = mtoken, self._timeline.now_s
        self._received, self._served_cost = 0, 0.0
        self.power = Power.LOADING
        behaviour = self._behaviour
        usual_s = behaviour.restart_s if self._loaded_once else behaviour.first_start_s
        time_s = usual_s * self._random.uniform(1.0 - behaviour.start_spread, 1.0 + behaviour.start_spread)
        chance = behaviour.fails_to_start if self.crashes_allowed else 0.0
        fails = self.version in behaviour.bad_versions or self._random.random() < chance
        self._later(time_s, self._break if fails else self._load)

    def stop(self, then: Callable[[], None]) -> None:
        """Drain, then be off; ``then`` is called when it is."""
        self._stopped = then
        if self.power is Power.DRAINING:
            return
        if self.power is Power.READY and self._queue:
            self.power = Power.DRAINING
            self._later(self._behaviour.drain_limit_s, self._end)
        else:
            self._end()

    def kill(self) -> None:
        """End at once, unasked."""
        if self.power is not Power.OFF:
            self._break()

    # --- its clients ---

    def accept(self, request_idx: int, cost: float, issued_s: float, settle: Callable[[bool], None]) -> bool:
        """Take a request in, unless it is not ready, its ticket holds no more, or it would wait for too long.

        ``settle`` is called when it was served, or is cut off.
        """
        if self.power is not Power.READY or not max(self._started_s, self._timeline.now_s - LIFE_S) <= issued_s:
            return False
        if sum(job.cost for job in self._queue) / self._capacity_per_s > self._behaviour.rejects_above_s:
            self.rejected += 1
            self.outbox.append(FinishedRequest(request_idx, success=False, status="Rejected"))
            return False
        self._received += 1
        self._queue.append(_Job(request_idx, cost, settle))
        if len(self._queue) == 1:
            self._work()
        return True

    @property
    def listens(self) -> bool:
        """Whether a connection is accepted."""
        return self.power not in {Power.OFF, Power.BROKEN}

    # --- what it says ---

    def status(self) -> WorkerStatus:
        """Its report, as of now; or a lie."""
        status = self._truth()
        lies = self.crashes_allowed and self._random.random() < self._behaviour.lies
        return msgspec.structs.replace(status, **self._random.choice(LIES)) if lies else status

    def _truth(self) -> WorkerStatus:
        states = {Power.LOADING: "starting", Power.READY: "ready", Power.DRAINING: "draining"}
        return WorkerStatus(
            id=self.number,
            mtoken=self.mtoken,
            url=self.url,
            state=states.get(self.power, "error"),
            max_perf=self._capacity_per_s if self._loaded_once else 0.0,
            cur_load=sum(job.cost for job in self._queue),
            num_requests_working=len(self._queue),
            num_requests_recieved=self._received,
            working_request_idxs=[job.request_idx for job in self._queue],
        )

    # --- inside ---

    def _later(self, delay_s: float, do: Callable[[], None]) -> None:
        run = self._run

        def unless_restarted() -> None:
            if self._run == run and self.power not in {Power.OFF, Power.BROKEN}:
                do()

        self._timeline.after(delay_s, unless_restarted)

    def _load(self) -> None:
        self.power, self._loaded_once = Power.READY, True
        if self._behaviour.crash_every_s > 0:
            self._later(self._random.expovariate(1.0 / self._behaviour.crash_every_s), self._crash)

    def _crash(self) -> None:
        if self.crashes_allowed:
            self._break()

    def _work(self) -> None:
        self._later(self._queue[0].cost / self._capacity_per_s, self._finish)

    def _finish(self) -> None:
        job = self._queue.popleft()
        self.served.append(job.request_idx)
        self.outbox.append(FinishedRequest(job.request_idx, success=True, status="Success"))
        job.settle(True)
        if self._queue:
            self._work()
        elif self.power is Power.DRAINING:
            self._end()

    def _break(self) -> None:
        self._cut_off(Power.BROKEN)
        if self._stopped is not None:
            self._end()

    def _end(self) -> None:
        self._cut_off(Power.OFF)
        then, self._stopped = self._stopped, None
        if then is not None:
            then()

    def _cut_off(self, power: Power) -> None:
        self.power = power
        jobs, self._queue = self._queue, deque()
        for job in jobs:
            job.settle(False)
