"""Which request goes where, and what is known of the requests so far. Pure.

    (new) ──> WAITING ──> SENT ──> reported, and forgotten after a while
                 ^          │
                 └──────────┘  asked again, and the ticket has expired, the worker rejected or failed it, or is lost

A known ``request_idx`` is a poll or a retry of the same request: it adds no load and gets the answer it had, until
that can be of no use any more. ``now_s`` is the engine's monotonic clock, ``epoch_s`` what tickets are stamped with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pyworker.engine.core.registry import Registry
from pyworker.engine.core.routing import choose
from pyworker.engine.core.signing import LIFE_S, Signer
from pyworker.engine.core.workers import MOST, Endpoint, Worker
from pyworker.errors import BadRequest
from pyworker.wire import AuthData, FinishedRequest, Number, RouteAnswer, RouteRequest, WaitingAnswer, WorkerStatus

__all__ = ["Dispatcher", "Moment"]

FORGET_S: Final = 120.0  # after the last sign of a request; more than the 60 s that clients come back for the same one
MOST_REQUESTS: Final = 200_000


class Moment(NamedTuple):
    """Now, on the monotonic clock and on the wall's, both in s."""

    now_s: float
    epoch_s: float


@dataclass(slots=True)
class _Sent:
    worker: Worker
    life: int  # the worker's, when it was sent
    answer: RouteAnswer
    expires_s: float
    arrived: bool = False
    failed: bool = False


@dataclass(slots=True)
class _Request:
    idx: int
    owner: str
    endpoint: Endpoint
    cost: Number
    seen_s: float
    sent: _Sent | None = None


class Dispatcher:
    """``first_idx`` is above every ``request_idx`` that was ever given."""

    def __init__(self, registry: Registry, signer: Signer, *, first_idx: int) -> None:
        self._registry = registry
        self._signer = signer
        self._next_idx = first_idx
        self._requests: OrderedDict[int, _Request] = OrderedDict()
        self._suspects: list[Worker] = []

    def route(self, owner: str, endpoint: Endpoint, query: RouteRequest, moment: Moment) -> RouteAnswer | WaitingAnswer:
        """Answer ``/route/``; ``owner`` names the key that asks. Raises BadRequest for a cost that is none."""
        if not 0 <= query.cost <= MOST:
            raise BadRequest(f"cost must be a number from 0 to {MOST:g}")
        request = self._known(owner, endpoint, query.request_idx)
        if request is None and len(self._requests) >= MOST_REQUESTS:
            return self._waiting(endpoint, 0, moment.now_s)
        return self._answer(request or self._new(owner, endpoint, query.cost, moment.now_s), moment)

    def poll(self, request_idx: int, moment: Moment) -> RouteAnswer | WaitingAnswer | None:
        """The same for a request that waits here; None when it was forgotten."""
        request = self._requests.get(request_idx)
        return None if request is None else self._answer(request, moment)

    def report(self, worker: Worker, status: WorkerStatus, now_s: float) -> None:
        """Take in a worker's status."""
        worker.report(status, self._claims_at(worker, status.working_request_idxs or (), now_s), now_s)

    def finished(self, worker: Worker, requests: Sequence[FinishedRequest]) -> None:
        """Take in requests that a worker says have ended; believed of those that were sent to it."""
        for finished in requests:
            sent = self._sent_to(worker, finished.request_idx)
            if sent is not None:
                sent.arrived = True
                sent.failed = not finished.success
                worker.finished(finished)

    def take_suspects(self) -> list[Worker]:
        """Workers whose clients came back with a good ticket in hand: did they refuse the connection?"""
        suspects, self._suspects = self._suspects, []
        return suspects

    def forget(self, now_s: float) -> None:
        """Forget requests of which nothing was heard for FORGET_S."""
        while self._requests and now_s - next(iter(self._requests.values())).seen_s >= FORGET_S:
            self._requests.popitem(last=False)

    # --- one request ---

    def _answer(self, request: _Request, moment: Moment) -> RouteAnswer | WaitingAnswer:
        self._touch(request, moment.now_s)
        if request.sent is not None and not _is_void(request.sent, moment.now_s):
            self._suspects.append(request.sent.worker)
            return request.sent.answer
        ready = [worker for worker in self._registry.workers(request.endpoint) if worker.is_ready]
        worker = choose(ready, max_wait_s=request.endpoint.max_queue_time_s)
        if worker is None:
            return self._waiting(request.endpoint, request.idx, moment.now_s)
        answer = self._send(request, worker, moment)
        request.sent = _Sent(worker, worker.life, answer, moment.now_s + LIFE_S)
        return answer

    def _send(self, request: _Request, worker: Worker, moment: Moment) -> RouteAnswer:
        reqnum = worker.send(request.idx, request.cost, moment.now_s)
        claims = AuthData(request.cost, request.endpoint.name, reqnum, worker.url, "", request.idx)
        signed = self._signer.sign(worker.token, claims, moment.epoch_s)
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
        return WaitingAnswer(
            endpoint=endpoint.name,
            status=counts or self._registry.why_no_worker(endpoint, now_s),
            benchmarking=sum(worker.benchmarks for worker in self._registry.workers(endpoint)),
            request_idx=request_idx,
            request_uuid=self._signer.request_uuid(),
        )

    # --- the book ---

    def _known(self, owner: str, endpoint: Endpoint, request_idx: int | None) -> _Request | None:
        request = self._requests.get(request_idx or 0)
        return request if request and request.owner == owner and request.endpoint is endpoint else None

    def _new(self, owner: str, endpoint: Endpoint, cost: Number, now_s: float) -> _Request:
        request = _Request(self._next_idx, owner, endpoint, cost, now_s)
        self._next_idx += 1
        self._requests[request.idx] = request
        return request

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
                claims[request_idx] = float(sent.answer.cost)
                self._touch(self._requests[request_idx], now_s)
        return claims


def _is_void(sent: _Sent, now_s: float) -> bool:
    """Whether its ticket can be of no use any more: it expired, or the worker rejected, failed or lost the request."""
    worker = sent.worker
    if sent.failed or now_s >= sent.expires_s or worker.life != sent.life:
        return True
    return not sent.arrived and not worker.is_ready
