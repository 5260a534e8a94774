"""Which request goes where, and what is known of the requests so far. Pure.

    (new) ──> WAITING (in the line) ──> SENT ──> reported, and forgotten after a while
                 ^                       │
                 └───────────────────────┘  asked again, and the ticket has expired, the worker rejected or failed it,
                                            or is lost: to the front of the line

A known ``request_idx`` is a poll or a retry of the same request: it adds no load and gets the answer it had, until
that can be of no use any more. Nobody overtakes: whoever asks stands in line, and ``place`` serves the line from its
front. ``now_s`` is the engine's monotonic clock, ``epoch_s`` what tickets are stamped with.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pyworker.engine.core.endpoints import Endpoint
from pyworker.engine.core.key_limits import NO_LIMITS, KeyLimits, KeyUse, KeyUses
from pyworker.engine.core.line import ABSENT_S, Line
from pyworker.engine.core.numbers import Numbers
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.routing import choose
from pyworker.engine.core.signing import LIFE_S, Signer
from pyworker.engine.core.workers import IN_THE_AIR_S, MOST, Worker, amount
from pyworker.errors import BadRequest
from pyworker.wire import AuthData, FinishedRequest, Number, RouteAnswer, RouteRequest, WaitingAnswer, WorkerStatus

__all__ = ["Dispatcher", "Moment"]

FORGET_S: Final = 120.0  # after the last sign of a request; more than the 60 s that clients come back for the same one
ENDED_S: Final = 5.0  # after a request was answered well: a late poll adds nothing
ARRIVED_S: Final = LIFE_S + 30.0  # a ticket is good no more, its leeway included: the request has arrived, or will not
MOST_REQUESTS: Final = 200_000
MOST_OF_ONE: Final = MOST_REQUESTS // 2  # of one key: the others get what is left


class Moment(NamedTuple):
    """Now, on the monotonic clock and on the wall's, both in s."""

    now_s: float
    epoch_s: float


@dataclass(slots=True)
class _Sent:
    """A place at a worker; the ticket for it is made when the client fetches it."""

    worker: Worker
    epoch: int  # the worker's, when it was sent
    expires_s: float
    answer: RouteAnswer | None = None
    arrived: bool = False
    failed: bool = False


@dataclass(slots=True)
class _Request:
    idx: int
    owner: str
    endpoint: Endpoint
    cost: Number  # as it was claimed, and is signed
    claim: float  # as it is believed
    seen_s: float
    use: KeyUse | None  # where its key has limits
    sent: _Sent | None = None


class Dispatcher:
    """``numbers`` are what requests are numbered with; ``below(n)`` is a random whole number from 0 to n - 1."""

    def __init__(
        self, registry: Registry, signer: Signer, numbers: Numbers, *, below: Callable[[int], int] | None = None
    ) -> None:
        self._registry = registry
        self._signer = signer
        self._numbers = numbers
        self._below = below
        self._requests: OrderedDict[int, _Request] = OrderedDict()
        self._by_owner: Counter[str] = Counter()
        self._uses = KeyUses()
        self._ended: deque[tuple[float, int]] = deque()
        self._lines: dict[Endpoint, Line] = {}
        self._suspects: list[Worker] = []
        self._placed: list[int] = []

    # --- asked by clients ---

    def route(
        self, owner: str, endpoint: Endpoint, query: RouteRequest, moment: Moment, limits: KeyLimits = NO_LIMITS
    ) -> RouteAnswer | WaitingAnswer:
        """Answer ``/route/``; ``owner`` names the key that asks, ``limits`` are that key's.

        Raises BadRequest for a cost that is none; KeyLimitReached for a new request that the limits do not allow.
        """
        if not 0 <= query.cost <= MOST:
            raise BadRequest(f"cost must be a number from 0 to {MOST:g}")
        request = self._known(owner, endpoint, query.request_idx)
        if request is None:
            if self._by_owner[owner] >= MOST_OF_ONE or len(self._requests) >= MOST_REQUESTS or not self._numbers.left:
                return self.turned_away(endpoint, "too many requests are under way already: ask again")
            request = self._new(owner, endpoint, query.cost, moment.now_s, limits)
        return self._answer(request, moment)

    def turned_away(self, endpoint: Endpoint, why: str) -> WaitingAnswer:
        """What a request is told of which nothing is kept: it comes again as a new one."""
        return WaitingAnswer(endpoint=endpoint.name, status=why, request_uuid=self._signer.request_uuid())

    def hold(self, request_idx: int, now_s: float, *, held: bool) -> None:
        """A call that waits for this request stays open, or no longer does."""
        request = self._requests.get(request_idx)
        if request is not None:
            line = self._line(request.endpoint)
            line.hold(request_idx, now_s, held=held)
            if request.use is not None and request_idx in line:
                request.use.under_way(request_idx, math.inf if held else now_s + ABSENT_S)

    def give_up(self, request_idx: int) -> None:
        """Nobody waits for this request any more; it may be asked for again, at the end of the line."""
        request = self._requests.get(request_idx)
        if request is not None:
            self._line(request.endpoint).leave(request_idx)
            if request.use is not None and request.sent is None:
                request.use.give_up(request_idx)

    def poll(self, request_idx: int, moment: Moment) -> RouteAnswer | WaitingAnswer | None:
        """The answer for a request that is held here; None when it was forgotten."""
        request = self._requests.get(request_idx)
        return None if request is None else self._answer(request, moment)

    def place(self, endpoint: Endpoint, moment: Moment) -> None:
        """Send the first in line, for as long as there are workers for them."""
        line = self._line(endpoint)
        while (idx := line.first(moment.now_s)) is not None:
            request = self._requests.get(idx)
            if request is not None:
                worker = self._choose(endpoint, moment.now_s)
                if worker is None:
                    break
                worker.send(idx, request.claim, moment.now_s)
                request.sent = _Sent(worker, worker.epoch, moment.now_s + IN_THE_AIR_S)
                self._placed.append(idx)
            line.leave(idx)

    def take_placed(self) -> list[int]:
        """Requests that have come out of the line since this was last asked; those that are held can be answered."""
        placed, self._placed = self._placed, []
        return placed

    # --- told by workers ---

    def report(self, worker: Worker, status: WorkerStatus, now_s: float) -> None:
        """Take in a worker's status."""
        worker.report(status, self._claims_at(worker, status.working_request_idxs or (), now_s), now_s)

    def finished(self, worker: Worker, requests: Sequence[FinishedRequest], now_s: float) -> None:
        """Take in requests that a worker says have ended; believed of those that were sent to it."""
        for finished in requests:
            sent = self._sent_to(worker, finished.request_idx)
            if sent is not None:
                sent.arrived = True
                sent.failed = not finished.success
                if finished.success:
                    self._ended.append((now_s, finished.request_idx))
                worker.finished(finished)
                _count(self._requests[finished.request_idx], finished, now_s)
                worker.endpoint.times.add(finished, now_s)

    # --- as time passes ---

    def take_suspects(self) -> list[Worker]:
        """Workers whose clients came back with a good ticket in hand: did they refuse the connection?"""
        suspects, self._suspects = self._suspects, []
        return suspects

    def forget(self, now_s: float) -> None:
        """Forget requests of which nothing was heard for FORGET_S, or that have ended well ENDED_S ago."""
        while self._ended and now_s - self._ended[0][0] >= ENDED_S:
            self._drop(self._ended.popleft()[1])
        while self._requests and now_s - next(iter(self._requests.values())).seen_s >= FORGET_S:
            request = next(iter(self._requests.values()))
            if request.sent is None and request.idx in (line := self._line(request.endpoint)):
                if line.is_held(request.idx):  # it is still here
                    self._touch(request, now_s)
                    continue
                line.leave(request.idx)
            self._drop(request.idx)
        self._uses.forget(now_s)

    def forget_endpoint(self, endpoint: Endpoint) -> list[int]:
        """It is gone. Returns the requests that waited for it."""
        gone = [request.idx for request in self._requests.values() if request.endpoint is endpoint]
        for idx in gone:
            self._drop(idx)
        self._lines.pop(endpoint, None)
        return gone

    def waiting(self, endpoint: Endpoint) -> tuple[int, float]:
        """How many requests wait, and their workload as it will be counted."""
        line = self._line(endpoint)
        return len(line), line.claimed * endpoint.counted_per_claimed

    # --- one request ---

    def _answer(self, request: _Request, moment: Moment) -> RouteAnswer | WaitingAnswer:
        self._touch(request, moment.now_s)
        sent, line = request.sent, self._line(request.endpoint)
        if sent is None or _is_void(sent, moment.now_s):
            line.join(request.idx, request.claim, moment.now_s, at_front=sent is not None)
            request.sent = None
            if request.use is not None:
                request.use.under_way(request.idx, moment.now_s + ABSENT_S)
            self.place(request.endpoint, moment)
            sent = request.sent
            if sent is None:
                return self._waiting(request.endpoint, request.idx, moment.now_s)
        if sent.answer is not None:
            self._suspects.append(sent.worker)
            return sent.answer
        sent.answer, sent.expires_s = self._ticket(request, sent.worker, moment), moment.now_s + LIFE_S
        if request.use is not None:
            request.use.under_way(request.idx, moment.now_s + ARRIVED_S)
        return sent.answer

    def _choose(self, endpoint: Endpoint, now_s: float) -> Worker | None:
        """Workers with the newest version of their group come first, while an update is rolled out."""
        ready, max_wait_s = self._registry.ready(endpoint), self._longest_wait_s(endpoint, now_s)
        if any(group.before is not None for group in self._registry.groups(endpoint)):
            updated = [worker for worker in ready if worker.version == worker.group.version]
            worker = choose(updated, max_wait_s=max_wait_s, below=self._below)
            if worker is not None:
                return worker
        return choose(ready, max_wait_s=max_wait_s, below=self._below)

    def _longest_wait_s(self, endpoint: Endpoint, now_s: float) -> float:
        """How long a worker's expected wait may be. What is placed stays there: who waits for longer than until the
        next worker is ready is better off in the line, as long as the workers that are ready have enough to do.
        """
        parameters = endpoint.parameters
        enough_s = max(parameters.target_queue_time, self._registry.ready_in_s(endpoint, now_s))
        return min(parameters.max_queue_time, enough_s)

    def _ticket(self, request: _Request, worker: Worker, moment: Moment) -> RouteAnswer:
        claims = AuthData(request.cost, request.endpoint.name, worker.next_reqnum(), worker.url, "", request.idx)
        signed = self._signer.sign(worker, claims, moment.epoch_s)
        return RouteAnswer(
            endpoint=signed.endpoint,
            url=signed.url,
            cost=signed.cost,
            reqnum=signed.reqnum,
            request_idx=signed.request_idx,
            signature=signed.signature,
            request_uuid=self._signer.request_uuid(),
        )

    def _waiting(self, endpoint: Endpoint, request_idx: int, now_s: float) -> WaitingAnswer:
        counts = dict(self._registry.state_counts(endpoint))
        position = self._line(endpoint).position(request_idx)
        return WaitingAnswer(
            endpoint=endpoint.name,
            status=counts or self._registry.why_no_worker(endpoint, now_s),
            benchmarking=sum(worker.benchmarks for worker in self._registry.workers(endpoint)),
            request_idx=request_idx,
            request_uuid=self._signer.request_uuid(),
            position=position,
            estimate_s=self._estimate_s(endpoint, position, now_s),
        )

    def _estimate_s(self, endpoint: Endpoint, position: int, now_s: float) -> float | None:
        """Until the work ahead is down to what ready workers may have in line; None while there is no capacity."""
        ready = self._registry.ready(endpoint)
        capacity_per_s = sum(worker.capacity_per_s for worker in ready)
        if capacity_per_s <= 0:
            return None
        count, claimed = self.waiting(endpoint)
        ahead = sum(worker.load for worker in ready) + (claimed * position / count if count else 0.0)
        return max(0.0, round(ahead / capacity_per_s - self._longest_wait_s(endpoint, now_s), 1))

    # --- the book ---

    def _line(self, endpoint: Endpoint) -> Line:
        line = self._lines.get(endpoint)
        if line is None:
            line = self._lines[endpoint] = Line()
        return line

    def _known(self, owner: str, endpoint: Endpoint, request_idx: int | None) -> _Request | None:
        request = self._requests.get(request_idx or 0)
        return request if request and request.owner == owner and request.endpoint is endpoint else None

    def _new(self, owner: str, endpoint: Endpoint, cost: Number, now_s: float, limits: KeyLimits) -> _Request:
        claim = endpoint.credible(float(cost))
        expected = claim * endpoint.counted_per_claimed
        use = self._uses.of(owner, limits)
        if use is not None:
            use.require(expected, now_s)
        request = _Request(self._numbers.take(), owner, endpoint, cost, claim, now_s, use)
        if use is not None:
            use.begin(request.idx, expected, now_s)
        self._requests[request.idx] = request
        self._by_owner[owner] += 1
        endpoint.arrivals.add(request.claim, now_s)
        return request

    def _drop(self, request_idx: int) -> None:
        request = self._requests.pop(request_idx, None)
        if request is not None:
            if request.use is not None:
                if request.sent is None:
                    request.use.give_up(request_idx)
                request.use.forget(request_idx)
            self._by_owner[request.owner] -= 1
            if self._by_owner[request.owner] <= 0:
                del self._by_owner[request.owner]

    def _touch(self, request: _Request, now_s: float) -> None:
        request.seen_s = now_s
        self._requests.move_to_end(request.idx)

    def _sent_to(self, worker: Worker, request_idx: int) -> _Sent | None:
        request = self._requests.get(request_idx)
        return request.sent if request and request.sent and request.sent.worker is worker else None

    def _claims_at(self, worker: Worker, request_idxs: Sequence[int], now_s: float) -> dict[int, float]:
        """The claims of those requests that were sent to this worker; they have arrived."""
        claims: dict[int, float] = {}
        for request_idx in request_idxs:
            sent = self._sent_to(worker, request_idx)
            if sent is not None:
                sent.arrived = True
                request = self._requests[request_idx]
                claims[request_idx] = request.claim
                self._touch(request, now_s)
                if request.use is not None:
                    request.use.under_way(request_idx, now_s + FORGET_S)
        return claims


def _is_void(sent: _Sent, now_s: float) -> bool:
    """Whether its ticket can be of no use any more: it expired, or the worker rejected, failed or lost the request."""
    worker = sent.worker
    if sent.failed or now_s >= sent.expires_s or worker.epoch != sent.epoch:
        return True
    return not sent.arrived and not worker.is_ready


def _count(request: _Request, finished: FinishedRequest, now_s: float) -> None:
    """For the limits of its key: it has ended, and this is what it was. Workers of others do not say how much."""
    if request.use is None:
        return
    request.use.end(request.idx)
    if finished.status == "Rejected":
        request.use.count(request.idx, 0.0, now_s)
    elif finished.workload is not None:
        expected = request.claim * request.endpoint.counted_per_claimed
        request.use.count(request.idx, amount(finished.workload, expected), now_s)
