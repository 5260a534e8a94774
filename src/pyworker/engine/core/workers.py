"""One worker as the engine knows it: what it last reported, and what was sent to it since. Pure.

A worker's numbers are its own claim. What is not a finite number of 0 or more is taken as not given, so that no report
can make an expected wait meaningless. ``now_s`` is the engine's monotonic clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pyworker.tickets import Scheme, TicketKey
from pyworker.wire import FinishedRequest, WorkerInfo, WorkerStatus

__all__ = ["Endpoint", "Token", "Worker", "amount"]

IN_THE_AIR_S: Final = 10.0  # what was not reported by then never arrived, or has come and gone
MOST: Final = 1e12  # of any workload, so that sums stay finite
_ROLLING = 0.1
_RELIABILITY = 0.05
_RATIO = 0.2
_RATIO_LOW, _RATIO_HIGH = 0.01, 100.0

# The words of our workers (worker.core.readiness) as states of the wire, section 6.
_STATES: Final[Mapping[str, str]] = {
    "starting": "LOADING",
    "loaded": "MODEL_LOADING",
    "benchmarking": "MODEL_LOADING",
    "ready": "IDLE",
    "error": "ERROR",
    "draining": "STOPPING",
}


@dataclass(slots=True, eq=False)
class Endpoint:
    """Workers that serve the same model under one name.

    ``counted_per_claimed`` is how much workload its workers count for each unit that clients claim as ``cost``.
    """

    id: int
    name: str
    max_queue_time_s: float = 30.0
    counted_per_claimed: float = 1.0

    def learn_ratio(self, counted: float, claimed: float) -> None:
        """Take in what a worker counted for requests for which clients claimed so much."""
        if claimed > 0 and counted > 0:
            sample = min(max(counted / claimed, _RATIO_LOW), _RATIO_HIGH)
            self.counted_per_claimed += _RATIO * (sample - self.counted_per_claimed)


@dataclass(slots=True, eq=False)
class Token:
    """What an mtoken stands for: an endpoint, and from the first report on one ``id`` and one ``url``.

    With a ``ticket_key`` the worker gets tickets, without one RSA signatures of ``signature_scheme``.
    """

    endpoint: Endpoint
    ticket_key: TicketKey | None = None
    signature_scheme: Scheme = 4
    id: int | None = None
    url: str | None = None


@dataclass(slots=True, eq=False)
class Worker:
    """See the module. ``life`` changes when what was sent to it before is lost; loads are in the worker's unit."""

    token: Token
    id: int
    reqnum: int  # the last one given
    started_s: float
    heard_s: float
    url: str = ""
    ours: bool = False
    gone: bool = False
    life: int = 0
    state: str = "PENDING"  # nothing heard yet, or not any more
    benchmarks: bool = False  # what a worker of ours in MODEL_LOADING may be doing
    loaded_s: float | None = None
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
    # claim and time of what was sent and is not reported yet, oldest first
    _air: OrderedDict[int, tuple[float, float]] = field(
        default_factory=OrderedDict[int, "tuple[float, float]"], repr=False
    )
    _air_cost: float = 0.0

    @property
    def endpoint(self) -> Endpoint:
        """Whose requests it serves."""
        return self.token.endpoint

    @property
    def is_ready(self) -> bool:
        """Whether it takes requests."""
        return self.state == "IDLE" and bool(self.url) and not self.gone

    @property
    def load(self) -> float:
        """Workload in flight: what it counted, and the claims of what was sent and it has not reported yet."""
        return self.counted_load + max(0.0, self._air_cost) * self.endpoint.counted_per_claimed

    def report(self, status: WorkerStatus, listed: Mapping[int, float], now_s: float) -> None:
        """Take a status report in; ``listed`` are the claims of the requests it works on and was sent by us."""
        self._notice_restart(status)
        interval_s = max(now_s - self.heard_s, 0.5)
        self.heard_s, self.gone, self.ours = now_s, False, bool(status.state)
        self.state = self._state(status)
        self.benchmarks = self.state == "MODEL_LOADING" and status.state == "benchmarking"
        if self.state == "IDLE" and self.loaded_s is None:
            self.loaded_s = now_s
        self.capacity_per_s = amount(status.max_perf, self.capacity_per_s)
        self.counted_load = amount(status.cur_load, self.counted_load)
        self.new_load = amount(status.new_load, 0.0)
        self.served_per_s = amount(status.cur_perf, 0.0) / interval_s
        self.working = int(amount(status.num_requests_working, self.working))
        self.disk_gb = amount(status.disk_usage, self.disk_gb)
        self.rolling_load += _ROLLING * (self.counted_load - self.rolling_load)
        for request_idx in listed:
            self._land(request_idx)
        if len(listed) == len(status.working_request_idxs or ()):
            self.endpoint.learn_ratio(self.counted_load, sum(listed.values()))
        self.forget_the_air(now_s)

    def send(self, request_idx: int, cost: float, now_s: float) -> int:
        """Note that a request goes to it. Returns its ``reqnum``."""
        self.reqnum += 1
        self.sent_s = now_s
        self._land(request_idx)
        self._air[request_idx] = (min(cost, MOST), now_s)
        self._air_cost += min(cost, MOST)
        return self.reqnum

    def finished(self, request: FinishedRequest) -> None:
        """A request that was sent to it has ended."""
        self._land(request.request_idx)
        if request.status != "Rejected":
            self.reliability += _RELIABILITY * (float(request.success) - self.reliability)

    def forget_the_air(self, now_s: float) -> None:
        """Count no longer what was sent long ago."""
        while self._air and now_s - next(iter(self._air.values()))[1] >= IN_THE_AIR_S:
            self._land(next(iter(self._air)))

    def lose(self) -> None:
        """It went away: what was sent to it is lost."""
        self.gone, self.state = True, "PENDING"
        self.life += 1
        self.counted_load, self.working = 0.0, 0
        self._air.clear()
        self._air_cost = 0.0

    def info(self, now_s: float, epoch_s: float) -> WorkerInfo:
        """As it is listed."""
        loaded_at = 0.0 if self.loaded_s is None else epoch_s - (now_s - self.loaded_s)
        return WorkerInfo(
            id=self.id,
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
            started_at=epoch_s - (now_s - self.started_s),
        )

    def _land(self, request_idx: int) -> None:
        """Take a request out of the air, if it is there."""
        cost, _ = self._air.pop(request_idx, (0.0, 0.0))
        self._air_cost = self._air_cost - cost if self._air else 0.0  # no rounding error outlives its cause

    def _notice_restart(self, status: WorkerStatus) -> None:
        """Its count of requests never falls while it runs."""
        received = int(amount(status.num_requests_recieved, self.received))
        if received < self.received:
            self.lose()
            self.loaded_s = None
        self.received = received

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
