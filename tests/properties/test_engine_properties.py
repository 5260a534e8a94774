"""Whatever workers claim and clients ask, routing stays meaningful and a request is never at two workers at once."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyworker.engine.core.dispatch import Dispatcher, Moment
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.routing import choose, expected_wait_s
from pyworker.engine.core.signing import LIFE_S, Signer
from pyworker.engine.core.workers import MOST, Worker, amount
from pyworker.tickets import TicketKey
from pyworker.wire import FinishedRequest, RouteAnswer, RouteRequest, WorkerStatus
from tests.support.fleets import a_group, a_worker, an_endpoint, numbers, rsa_key

ANY_NUMBER = st.none() | st.floats() | st.integers(-(10**30), 10**30)
HONEST = st.floats(0, 1e6)


@given(ANY_NUMBER, HONEST)
def test_a_reported_number_becomes_a_finite_one_that_is_not_below_zero(value: float | None, before: float) -> None:
    assert 0 <= amount(value, before) <= MOST


class _Seen:
    sent_s = 0.0

    def __init__(self, load: float, capacity_per_s: float) -> None:
        self.load, self.capacity_per_s = load, capacity_per_s


@given(st.lists(st.builds(_Seen, st.floats(0, 1e9), st.floats(0, 1e9)), max_size=8), st.floats(0, 1e6))
def test_nobody_with_a_shorter_wait_is_passed_over(workers: list[_Seen], max_wait_s: float) -> None:
    chosen = choose(workers, max_wait_s=max_wait_s)
    waits = [expected_wait_s(worker) for worker in workers]
    if chosen is None:
        assert all(wait_s > max_wait_s for wait_s in waits)
    else:
        assert expected_wait_s(chosen) == min(waits) <= max_wait_s


class Fleet(RuleBasedStateMachine):
    """Three workers, one of which lies, and clients that poll, retry and give up."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.registry = Registry()
        self.endpoint = an_endpoint(self.registry)
        self.dispatcher = Dispatcher(self.registry, Signer({1: rsa_key()}, bytes), numbers())
        group = a_group(self.registry, self.endpoint)
        for number in (1, 2, 3):
            a_worker(self.registry, group, f"m{number}", ticket_key=TicketKey(f"k{number}", b"s" * 32))
        self.tickets: dict[int, tuple[RouteAnswer, float]] = {}
        self.free: set[int] = set()  # requests that were reported rejected or failed
        self.waiting: set[int] = set()
        self.last_idx = 0
        self.last_reqnum: dict[str, int] = {}

    def _workers(self) -> list[Worker]:
        return self.registry.workers(self.endpoint)

    @rule(number=st.sampled_from([1, 2]), load=HONEST, capacity_per_s=HONEST, data=st.data())
    def report(self, number: int, load: float, capacity_per_s: float, data: st.DataObject) -> None:
        mine = [idx for idx, (answer, _) in self.tickets.items() if answer.url.endswith(f"300{number}")]
        working = data.draw(st.lists(st.sampled_from(mine), unique=True)) if mine else []
        self._hear(number, cur_load=load, max_perf=capacity_per_s, working_request_idxs=working)

    @rule(
        load=ANY_NUMBER,
        capacity_per_s=ANY_NUMBER,
        others=ANY_NUMBER,
        working=st.lists(st.integers(-5, 50), max_size=5),
    )
    def lie(self, load: Any, capacity_per_s: Any, others: Any, working: list[int]) -> None:
        self._hear(
            3,
            cur_load=load,
            max_perf=capacity_per_s,
            new_load=others,
            cur_perf=others,
            disk_usage=others,
            num_requests_working=others,
            working_request_idxs=working,
        )

    def _hear(self, number: int, **fields: Any) -> None:
        url = f"http://127.0.0.1:300{number}"
        status = WorkerStatus(id=number, mtoken=f"m{number}", url=url, state="ready", **fields)
        self.dispatcher.report(self.registry.identify(status, self.now_s), status, self.now_s)

    @rule(cost=st.floats(0, 1e6), idx=st.integers(0, 50))
    def ask(self, cost: float, idx: int) -> None:
        """A new request, a poll or a retry."""
        query = RouteRequest("default", cost=cost, request_idx=idx)
        answer = self.dispatcher.route("me", self.endpoint, query, Moment(self.now_s, self.now_s + 1e9))
        if answer.request_idx > self.last_idx:
            self.last_idx = answer.request_idx
        else:
            assert answer.request_idx == idx
        if isinstance(answer, RouteAnswer):
            self._got(answer)
        else:
            self.waiting.add(answer.request_idx)

    def _got(self, answer: RouteAnswer) -> None:
        before = self.tickets.get(answer.request_idx)
        if before is not None and answer != before[0]:
            expired = self.now_s >= before[1] + LIFE_S
            assert expired or answer.request_idx in self.free, "a second ticket while the first was good"
        if before is None or answer != before[0]:
            assert answer.reqnum > self.last_reqnum.get(answer.url, -1)
            self.last_reqnum[answer.url] = answer.reqnum
            self.tickets[answer.request_idx] = (answer, self.now_s)
            self.free.discard(answer.request_idx)
            self.waiting.discard(answer.request_idx)

    @precondition(lambda self: self.tickets)
    @rule(
        number=st.sampled_from([1, 2, 3]),
        status=st.sampled_from(["Success", "Error", "Cancelled", "Rejected"]),
        data=st.data(),
    )
    def finish(self, number: int, status: str, data: st.DataObject) -> None:
        """Any worker may say so; only the one it was sent to is believed."""
        worker = next((worker for worker in self._workers() if worker.id == number), None)
        idx = data.draw(st.sampled_from(sorted(self.tickets)))
        if worker is None:
            return
        success = status in {"Success", "Cancelled"}
        self.dispatcher.finished(worker, [FinishedRequest(idx, success, status)], self.now_s)
        if self.tickets[idx][0].url == worker.url:
            (self.free.discard if success else self.free.add)(idx)

    @rule(time_s=st.floats(0, 20))
    def pass_time(self, time_s: float) -> None:
        self.now_s += time_s
        for worker in self._workers():
            worker.forget_the_air(self.now_s)
        self.dispatcher.forget(self.now_s)

    @invariant()
    def numbers_are_meaningful(self) -> None:
        for worker in self._workers():
            info = worker.info(self.now_s, 1e9 + self.now_s)
            numbers = [
                getattr(info, name) for name in info.__struct_fields__ if name not in {"status", "url", "error_msg"}
            ]
            assert all(math.isfinite(number) and number >= 0 for number in numbers), info
            assert not math.isnan(expected_wait_s(worker))


TestFleet = Fleet.TestCase
