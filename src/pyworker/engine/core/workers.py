"""One worker as the engine knows it: what its provider does with it, what it last reported, what was sent to it. Pure.

    (provider)  CREATING ──> RUNNING ──> STOPPING ──> STOPPED ──> STARTING ──> RUNNING
                             RUNNING ──> FAILED (ended by itself)    any ──> DESTROYING
    (external)  RUNNING, for as long as it reports; told to drain it goes and comes back with its group's version

While it is RUNNING, what it reports is its state. A worker's numbers are its own claim: what is not a finite number
of 0 or more is taken as not given, so that no report can make an expected wait meaningless. ``now_s`` is the engine's
monotonic clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.tickets import Scheme, TicketKey
from pyworker.wire import FinishedRequest, WorkerInfo, WorkerStatus

__all__ = ["Life", "Worker", "amount"]

IN_THE_AIR_S: Final = 10.0  # what was not reported by then never arrived, or has come and gone
MOST: Final = 1e12  # of any workload, so that sums stay finite
STEADY_S: Final = 60.0  # ready for so long, its failures before that are forgotten
LATE_S: Final = 5.0  # a report that says nothing of the drain that was begun so long ago is no late one
_ROLLING = 0.1
_RELIABILITY = 0.05

# The words of our workers (worker.core.readiness) as states of the wire, section 6.
_STATES: Final[Mapping[str, str]] = {
    "starting": "LOADING",
    "loaded": "MODEL_LOADING",
    "benchmarking": "MODEL_LOADING",
    "ready": "IDLE",
    "error": "ERROR",
    "draining": "STOPPING",
}


class Life(Enum):
    """What a provider does with a worker; the value is its state on the wire, where that does not depend on reports."""

    CREATING = "CREATING"
    STARTING = "STARTING"
    RUNNING = "LOADING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    UPDATING = "UPDATE_REBOOTING"  # drains or is stopped; will be started with its group's newest launch
    UPDATE_STARTING = "UPDATE_STARTING"
    FAILED = "ERROR"
    DESTROYING = "DESTROYING"


_LOADS: Final = {Life.RUNNING, Life.STARTING, Life.CREATING, Life.UPDATE_STARTING}  # where reports count


@dataclass(slots=True, eq=False)
class Worker:
    """See the module. ``epoch`` changes when what was sent to it before is lost; loads are in the worker's unit.

    ``number`` is the engine's, never given twice; ``id`` is what it reports, None until then. With a ``ticket_key`` it
    gets tickets, without one RSA signatures of ``signature_scheme`` by the key of the ``rsa_generation``
    (0: the newest).
    """

    number: int
    group: Group
    ticket_key: TicketKey | None = None
    signature_scheme: Scheme = 4
    rsa_generation: int = 0
    reported_id: int | None = None
    url: str = ""
    version: int = 1
    created_epoch_s: float = 0.0
    life: Life = Life.RUNNING
    since_s: float = 0.0  # when it came to its phase
    started_s: float = 0.0
    starts: int = 0  # that were noticed
    load_time_s: float = 0.0  # as it last said it
    heard_s: float = -math.inf
    ours: bool = False
    gone: bool = True  # nothing heard, or not any more; nobody is sent there
    epoch: int = 0
    reported: str = ""  # the state that it reports; empty until then
    error: str = ""
    benchmarks: bool = False  # what a worker of ours in MODEL_LOADING may be doing
    loaded_s: float | None = None
    was_ready: bool = False
    failures: int = 0  # in a row
    reqnum: int = 0  # the last one given
    capacity_per_s: float = 0.0
    counted_load: float = 0.0
    rolling_load: float = 0.0
    new_load: float = 0.0
    served_per_s: float = 0.0
    reliability: float = 1.0
    received: int = 0
    working: int = 0
    disk_gb: float = 0.0
    sent_s: float = -math.inf
    probed_s: float = -math.inf
    begun_s: float | None = None  # when its provider began to start it, until it is ready
    told_s: float | None = None  # when it was told to drain, until it is ready again
    left: bool = False  # since it was told, it was seen to drain or to be gone
    # claim and time of what was sent and is not reported yet, oldest first
    _air: OrderedDict[int, tuple[float, float]] = field(
        default_factory=OrderedDict[int, "tuple[float, float]"], repr=False
    )
    _air_cost: float = 0.0
    _counted: dict[int, float] = field(default_factory=dict[int, float], repr=False)  # claims in its last report

    # --- what it is ---

    @property
    def id(self) -> int:
        """Its number for others: what it reports, or the engine's."""
        return self.number if self.reported_id is None else self.reported_id

    @property
    def endpoint(self) -> Endpoint:
        """Whose requests it serves."""
        return self.group.endpoint

    @property
    def is_external(self) -> bool:
        """Whether nobody here starts and stops it."""
        return self.group.parameters.launch is None

    @property
    def state(self) -> str:
        """Its state on the wire."""
        if self.life not in _LOADS:
            return self.life.value
        if self.reported and not self.gone:
            return self.reported
        return "PENDING" if self.is_external else self.life.value

    @property
    def is_listed(self) -> bool:
        """Whether there is something to show: a token that nobody has reported with is no worker yet."""
        return not (self.is_external and self.gone)

    @property
    def runs_here(self) -> bool:
        """Whether it is one that was started here, and has not ended."""
        return not self.is_external and self.life not in {Life.STOPPED, Life.FAILED}

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.reported == "IDLE" and not self.gone and bool(self.url) and self.life in _LOADS

    @property
    def is_coming(self) -> bool:
        """Whether it is being started, as far as is known without trouble."""
        return self.begun_s is not None and self.reported != "ERROR"

    @property
    def load(self) -> float:
        """Workload in flight: what it counted, and the claims of what was sent and it has not reported yet."""
        if self._air_cost <= 0.0:
            return self.counted_load
        return self.counted_load + self._air_cost * self.group.endpoint.counted_per_claimed

    # --- what its provider does ---

    def lead(self, life: Life, now_s: float, error: str = "") -> None:
        """It comes into another part of its life."""
        if life is Life.FAILED and self.life is not Life.FAILED:
            self.failures += 1
        if life not in _LOADS or life in {Life.STARTING, Life.UPDATE_STARTING}:
            self.lose()
        self.life, self.error = life, error
        self.since_s = now_s
        if life is not Life.RUNNING:
            self.begun_s = now_s if life in _LOADS else None
        self.endpoint.stirred = True

    def told_to_drain(self, now_s: float) -> None:
        """It has agreed to drain, end and be started anew on its machine: it takes no more requests from now on."""
        self.told_s, self.left = now_s, False
        self.reported, self.since_s = "STOPPING", now_s
        self.endpoint.stirred = True

    def begin_anew(self) -> None:
        """Its provider starts it again, at an address that it will report."""
        self.url, self.started_s, self.loaded_s, self.received, self.load_time_s = "", 0.0, None, 0, 0.0

    # --- what it says ---

    def report(self, status: WorkerStatus, listed: Mapping[int, float], now_s: float) -> None:
        """Take a status report in; ``listed`` are the claims of the requests it works on and was sent by us."""
        self._notice_restart(status, now_s)
        interval_s = max(now_s - self.heard_s, 0.5)
        self.heard_s, self.gone, self.ours = now_s, False, bool(status.state)
        self._take_state(status, now_s)
        self.capacity_per_s = amount(status.max_perf, self.capacity_per_s)
        self.counted_load = amount(status.cur_load, self.counted_load)
        self.new_load = amount(status.new_load, 0.0)
        self.served_per_s = amount(status.cur_perf, 0.0) / interval_s
        self.working = int(amount(status.num_requests_working, self.working))
        self.disk_gb = amount(status.disk_usage, self.disk_gb)
        self.rolling_load += _ROLLING * (self.counted_load - self.rolling_load)
        self._counted = dict(listed)
        for request_idx in listed:
            self._land(request_idx)
        self.endpoint.learn_best(self.capacity_per_s)
        if listed and len(listed) == len(status.working_request_idxs or ()):
            self.endpoint.learn_ratio(self.counted_load, sum(listed.values()), len(listed))
        self.forget_the_air(now_s)

    def send(self, request_idx: int, cost: float, now_s: float) -> None:
        """Note that a request goes to it."""
        self.sent_s = now_s
        self._land(request_idx)
        self._air[request_idx] = (min(cost, MOST), now_s)
        self._air_cost += min(cost, MOST)

    def next_reqnum(self) -> int:
        """The next number of those it has been given."""
        self.reqnum += 1
        return self.reqnum

    def finished(self, request: FinishedRequest) -> None:
        """A request that was sent to it has ended: what its last report counted for it is no load any more."""
        self._land(request.request_idx)
        claim = self._counted.pop(request.request_idx, 0.0)
        self.counted_load = max(0.0, self.counted_load - claim * self.endpoint.counted_per_claimed)
        if request.status != "Rejected":
            self.reliability += _RELIABILITY * (float(request.success) - self.reliability)

    def forget_the_air(self, now_s: float) -> None:
        """Count no longer what was sent long ago."""
        while self._air and now_s - next(iter(self._air.values()))[1] >= IN_THE_AIR_S:
            self._land(next(iter(self._air)))

    def lose(self) -> None:
        """It went away: what was sent to it is lost."""
        self.gone, self.reported = True, ""
        self.benchmarks = False
        self.left = True
        self.epoch += 1
        self.counted_load, self.working = 0.0, 0
        self._counted = {}
        self._air.clear()
        self._air_cost = 0.0
        self.endpoint.stirred = True

    def info(self, now_s: float, epoch_s: float) -> WorkerInfo:
        """As it is listed."""
        loaded_at = 0.0 if self.loaded_s is None else epoch_s - (now_s - self.loaded_s)
        return WorkerInfo(
            id=self.id,
            number=self.number,
            status=self.state,
            url=self.url,
            cur_load=self.load,
            new_load=self.new_load,
            cur_load_rolling_avg=self.rolling_load,
            cur_perf=self.served_per_s,
            perf=self.capacity_per_s * self.reliability,
            measured_perf=self.capacity_per_s,
            dlperf=0.0,
            reliability=self.reliability,
            reqs_working=self.working,
            disk_usage=self.disk_gb,
            loaded_at=loaded_at,
            started_at=epoch_s - (now_s - self.started_s) if self.started_s else 0.0,
            workergroup_id=self.group.id,
            version=self.version,
            error_msg=self.error,
        )

    def _land(self, request_idx: int) -> None:
        """Take a request out of the air, if it is there."""
        cost, _ = self._air.pop(request_idx, (0.0, 0.0))
        self._air_cost = self._air_cost - cost if self._air else 0.0  # no rounding error outlives its cause

    def _notice_restart(self, status: WorkerStatus, now_s: float) -> None:
        """Its count of requests never falls while it runs; each start of a worker of others takes its own time."""
        received = int(amount(status.num_requests_recieved, self.received))
        load_time_s = amount(status.loadtime, 0.0) or self.load_time_s
        took_another_time = not status.state and self.load_time_s > 0 and load_time_s != self.load_time_s
        if received < self.received or took_another_time:
            self.lose()
            self.loaded_s, self.started_s = None, now_s
            self.starts += 1
        self.started_s = self.started_s or now_s
        self.received, self.load_time_s = received, load_time_s

    def _take_state(self, status: WorkerStatus, now_s: float) -> None:
        before, self.reported = self.reported, self._state(status)
        if self.told_s is not None:
            self._notice_return(status, self.told_s, now_s)
        self.benchmarks = self.reported == "MODEL_LOADING" and status.state == "benchmarking"
        if self.reported == "ERROR":
            self.error = (status.error_msg or "")[:500]
        elif self.life in _LOADS:
            self.error = ""
        if self.reported == "IDLE":
            self._note_ready(now_s)
        if self.reported == before:
            if self.reported == "IDLE" and now_s - self.since_s >= STEADY_S:
                self.failures = 0
            return
        self.since_s = now_s
        self.failures += self.reported == "ERROR"
        if self.life in _LOADS:
            self.life = Life.RUNNING
        self.endpoint.stirred = True

    def _note_ready(self, now_s: float) -> None:
        self.loaded_s = now_s if self.loaded_s is None else self.loaded_s
        self.was_ready = True
        if self.begun_s is not None:
            self.group.start_s, self.begun_s = now_s - self.begun_s, None

    def _notice_return(self, status: WorkerStatus, told_s: float, now_s: float) -> None:
        """What it says once it was told to drain: that it drains, or that it is back, unless this is a late report."""
        if status.state == "draining":
            self.left = True
        elif self.left or now_s - told_s >= LATE_S:
            self.version, self.left = self.group.version, True
            if self.reported == "IDLE":
                self.told_s = None
        else:
            self.reported = "STOPPING"

    def _state(self, status: WorkerStatus) -> str:
        if status.error_msg:
            return "ERROR"
        if status.state:
            return _STATES.get(status.state, "LOADING")
        # A worker of others says its load time once it is ready, and may fall back to 0.0 later.
        return "IDLE" if self.loaded_s is not None or amount(status.loadtime, 0.0) > 0 else "LOADING"


def amount(value: float | None, otherwise: float) -> float:
    """A reported number when it is finite and not below 0, at most MOST; ``otherwise`` when it is not."""
    return float(min(value, MOST)) if value is not None and 0 <= value < math.inf else otherwise
