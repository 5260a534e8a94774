"""Who gets which request, decided without I/O: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pyworker.engine.core import dispatch
from pyworker.engine.core.dispatch import ARRIVED_S, ENDED_S, FORGET_S, Dispatcher, Moment
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.key_limits import NO_LIMITS, KeyLimitReached, KeyLimits
from pyworker.engine.core.line import ABSENT_S
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.signing import LIFE_S, Signer
from pyworker.engine.core.workers import IN_THE_AIR_S, Life, Worker
from pyworker.errors import BadRequest
from pyworker.tickets import TicketKey, read_ticket
from pyworker.wire import AuthData, FinishedRequest, RouteAnswer, RouteRequest, WaitingAnswer, WorkerStatus
from tests.support.fleets import a_group, a_worker, an_endpoint, nonces, numbers, rsa_key

KEY = TicketKey("k1", b"s" * 32)


@dataclass
class Book:
    """A dispatcher with one endpoint, and a clock that the test moves."""

    registry: Registry = field(default_factory=Registry)
    now_s: float = 1000.0
    epoch_s: float = 1_700_000_000.0

    def __post_init__(self) -> None:
        self.endpoint: Endpoint = an_endpoint(self.registry)
        self.group: Group = a_group(self.registry, self.endpoint)
        self.dispatcher = Dispatcher(self.registry, Signer({1: rsa_key()}, nonces()), numbers(7))

    def pass_time(self, time_s: float) -> None:
        self.now_s += time_s
        self.epoch_s += time_s

    def join(self, worker_id: int = 1, **report: Any) -> Worker:
        a_worker(self.registry, self.group, f"m{worker_id}", ticket_key=KEY, reqnum=1_000)
        return self.report(worker_id, **report)

    def report(self, worker_id: int = 1, **fields: Any) -> Worker:
        url = f"http://127.0.0.1:{3000 + worker_id}"
        said = {"state": "ready", "max_perf": 100.0, "cur_load": 0.0, "url": url, **fields}
        status = WorkerStatus(id=worker_id, mtoken=f"m{worker_id}", **said)
        worker = self.registry.identify(status, self.now_s)
        self.dispatcher.report(worker, status, self.now_s)
        return worker

    def ask(
        self, cost: float = 100.0, *, owner: str = "me", idx: int = 0, limits: KeyLimits = NO_LIMITS
    ) -> RouteAnswer | WaitingAnswer:
        query = RouteRequest("default", cost=cost, request_idx=idx)
        return self.dispatcher.route(owner, self.endpoint, query, Moment(self.now_s, self.epoch_s), limits)

    def sent(self, cost: float = 100.0, *, idx: int = 0) -> RouteAnswer:
        answer = self.ask(cost, idx=idx)
        assert isinstance(answer, RouteAnswer), answer
        return answer

    def finish(self, worker: Worker, idx: int, status: str) -> None:
        success = status in {"Success", "Cancelled"}
        self.dispatcher.finished(worker, [FinishedRequest(request_idx=idx, success=success, status=status)], self.now_s)


@pytest.fixture
def book() -> Book:
    return Book()


def test_the_answer_carries_a_ticket_for_exactly_this_request(book: Book) -> None:
    worker = book.join()
    answer = book.sent(cost=42)
    claims = AuthData(42, "default", answer.reqnum, worker.url, "", answer.request_idx)
    ticket = read_ticket(answer.signature, claims, {"k1": KEY})
    assert (ticket.issued_s, ticket.expires_s) == (book.epoch_s, book.epoch_s + LIFE_S)


def test_without_a_worker_the_answer_says_why_and_has_no_url(book: Book) -> None:
    answer = book.ask()
    assert isinstance(answer, WaitingAnswer)
    assert answer.status == "no worker has reported yet"
    book.join(state="benchmarking")
    answer = book.ask(idx=answer.request_idx)
    assert isinstance(answer, WaitingAnswer)
    assert (answer.status, answer.benchmarking) == ({"MODEL_LOADING": 1}, 1)
    book.report(state="loaded")
    answer = book.ask(idx=answer.request_idx)
    assert isinstance(answer, WaitingAnswer)
    assert (answer.status, answer.benchmarking) == ({"MODEL_LOADING": 1}, 0)


@pytest.mark.parametrize("report", [{"state": "draining"}, {"state": "error"}, {"error_msg": "out of memory"}])
def test_a_worker_that_is_not_ready_gets_nothing(book: Book, report: dict[str, Any]) -> None:
    book.join(**report)
    assert isinstance(book.ask(), WaitingAnswer)


def test_a_worker_of_others_is_ready_from_its_first_load_time_on_even_if_it_falls_back(book: Book) -> None:
    book.join(state=None, loadtime=0.0)
    assert isinstance(book.ask(), WaitingAnswer)
    book.report(state=None, loadtime=12.5)
    book.report(state=None, loadtime=0.0)
    assert isinstance(book.ask(), RouteAnswer)


def test_numbers_count_up(book: Book) -> None:
    book.join()
    first, second = book.sent(), book.sent()
    assert (second.request_idx, second.reqnum) == (first.request_idx + 1, first.reqnum + 1)
    assert first.request_idx == 7
    assert first.reqnum == 1_001


def test_what_was_sent_counts_before_the_worker_reports_it(book: Book) -> None:
    one, two = book.join(1), book.join(2)
    urls = [book.sent(cost=1000).url for _ in range(4)]
    assert sorted(urls) == [one.url, one.url, two.url, two.url]
    assert one.load == two.load == 2000


def test_requests_are_held_when_what_is_in_the_air_makes_the_wait_too_long(book: Book) -> None:
    book.join()
    assert isinstance(book.ask(cost=2000), RouteAnswer)
    assert isinstance(book.ask(cost=1001), RouteAnswer)
    assert isinstance(book.ask(cost=1), WaitingAnswer)


def test_the_workers_count_replaces_the_claim(book: Book) -> None:
    worker = book.join()
    answer = book.sent(cost=5000)
    book.report(cur_load=20.0, working_request_idxs=[answer.request_idx])
    assert worker.load == 20.0


def test_a_request_that_a_report_crossed_stays_in_the_air(book: Book) -> None:
    worker = book.join()
    first, _ = book.sent(cost=100), book.sent(cost=300)
    book.report(cur_load=100.0, working_request_idxs=[first.request_idx])
    assert worker.load == 400.0


def test_claims_in_the_air_are_scaled_by_what_workers_have_counted(book: Book) -> None:
    worker = book.join()
    for _ in range(40):
        answer = book.sent(cost=1000)
        book.report(cur_load=100.0, working_request_idxs=[answer.request_idx])
        book.finish(worker, answer.request_idx, "Success")
        book.report(cur_load=0.0)
    assert book.endpoint.counted_per_claimed == pytest.approx(0.1, rel=0.01)
    book.sent(cost=1000)
    assert worker.load == pytest.approx(100.0, rel=0.01)


def test_what_never_arrives_is_not_counted_for_ever(book: Book) -> None:
    worker = book.join()
    book.sent(cost=5000)
    book.pass_time(IN_THE_AIR_S)
    worker.forget_the_air(book.now_s)
    assert worker.load == 0.0


def test_a_finished_request_is_no_longer_in_the_air(book: Book) -> None:
    worker = book.join()
    answer = book.sent(cost=5000)
    book.finish(worker, answer.request_idx, "Success")
    assert worker.load == 0.0


def test_what_has_ended_is_not_counted_until_the_next_report(book: Book) -> None:
    worker = book.join()
    first, second = book.sent(cost=100), book.sent(cost=300)
    book.report(cur_load=400.0, working_request_idxs=[first.request_idx, second.request_idx])
    for _ in range(2):  # told twice
        book.finish(worker, first.request_idx, "Success")
    assert worker.load == pytest.approx(300.0)
    book.report(cur_load=300.0, working_request_idxs=[second.request_idx])
    book.finish(worker, first.request_idx, "Success")
    assert worker.load == 300.0


# --- a known request_idx ---


def test_a_poll_of_a_waiting_request_adds_no_load_and_gets_the_worker_that_has_come(book: Book) -> None:
    waiting = [book.ask(cost=100), *(book.ask(cost=100, idx=7) for _ in range(5))]
    assert {answer.request_idx for answer in waiting} == {7}
    worker = book.join()
    assert book.sent(idx=7).request_idx == 7
    assert worker.load == 100


def test_a_retry_gets_the_same_ticket_while_it_is_good(book: Book) -> None:
    worker = book.join()
    answer = book.sent()
    assert book.sent(idx=answer.request_idx) == answer
    assert worker.load == 100
    book.dispatcher.take_suspects()
    book.pass_time(LIFE_S - 1)
    assert book.sent(idx=answer.request_idx) == answer
    assert book.dispatcher.take_suspects() == [worker]


def test_a_retry_gets_a_new_ticket_when_the_last_has_expired(book: Book) -> None:
    book.join()
    answer = book.sent()
    book.pass_time(LIFE_S)
    book.report()
    again = book.sent(idx=answer.request_idx)
    assert again.request_idx == answer.request_idx
    assert again.signature != answer.signature
    assert again.reqnum == answer.reqnum + 1


@pytest.mark.parametrize(
    ("status", "is_new"), [("Rejected", True), ("Error", True), ("Success", False), ("Cancelled", False)]
)
def test_a_retry_gets_a_new_ticket_when_the_worker_rejected_or_failed_the_request(
    book: Book, status: str, is_new: bool
) -> None:
    worker = book.join()
    answer = book.sent()
    book.finish(worker, answer.request_idx, status)
    assert (book.sent(idx=answer.request_idx).signature != answer.signature) is is_new


def test_only_the_worker_it_was_sent_to_is_believed_about_a_request(book: Book) -> None:
    worker, other = book.join(1), book.join(2)
    answer = book.sent()
    right, wrong = (worker, other) if answer.url == worker.url else (other, worker)
    book.finish(wrong, answer.request_idx, "Rejected")
    assert book.sent(idx=answer.request_idx) == answer
    assert right.load == 100
    assert wrong.reliability == 1.0


def test_a_rejected_request_goes_to_another_worker(book: Book) -> None:
    worker = book.join(1)
    answer = book.sent(cost=10)
    book.join(2)
    book.report(1, cur_load=900.0)
    book.finish(worker, answer.request_idx, "Rejected")
    assert book.sent(idx=answer.request_idx).url != worker.url


@pytest.mark.parametrize("report", [{"state": "draining"}, {"state": "error"}])
def test_a_request_that_did_not_arrive_leaves_a_worker_that_takes_no_more(book: Book, report: dict[str, Any]) -> None:
    worker = book.join(1)
    answer = book.sent()
    book.join(2)
    book.report(1, **report)
    assert book.sent(idx=answer.request_idx).url != worker.url


def test_a_request_that_arrived_stays_with_a_worker_that_drains(book: Book) -> None:
    book.join(1)
    answer = book.sent()
    book.join(2)
    book.report(1, state="draining", working_request_idxs=[answer.request_idx])
    assert book.sent(idx=answer.request_idx) == answer


def test_a_request_leaves_a_worker_that_was_restarted(book: Book) -> None:
    book.join(num_requests_recieved=5)
    answer = book.sent()
    book.report(num_requests_recieved=0)
    assert book.sent(idx=answer.request_idx).signature != answer.signature


def test_a_request_of_another_key_is_not_known(book: Book) -> None:
    book.join()
    answer = book.sent()
    other = book.ask(owner="somebody else", idx=answer.request_idx)
    assert other.request_idx != answer.request_idx


def test_a_request_is_forgotten_when_nothing_is_heard_of_it(book: Book) -> None:
    waiting = book.ask()
    book.pass_time(FORGET_S - 1)
    book.dispatcher.forget(book.now_s)
    assert book.ask(idx=waiting.request_idx).request_idx == waiting.request_idx
    book.pass_time(FORGET_S)
    book.dispatcher.forget(book.now_s)
    assert book.ask(idx=waiting.request_idx).request_idx != waiting.request_idx


def test_a_request_at_work_is_not_forgotten(book: Book) -> None:
    worker = book.join()
    answer = book.sent()
    for _ in range(10):
        book.pass_time(FORGET_S / 2)
        book.report(cur_load=100.0, working_request_idxs=[answer.request_idx])
        book.dispatcher.forget(book.now_s)
    book.finish(worker, answer.request_idx, "Error")
    assert worker.reliability < 1.0


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf"), 1e30])
def test_a_cost_that_is_none_is_refused(book: Book, cost: float) -> None:
    with pytest.raises(BadRequest, match="cost"):
        book.ask(cost=cost)


# --- nobody takes it all --------------------------------------------------------------------------


def test_who_claims_without_measure_keeps_no_worker_from_others(book: Book) -> None:
    book.join()
    book.sent(cost=1e12)
    assert isinstance(book.ask(cost=1, owner="somebody else"), RouteAnswer)
    assert book.endpoint.arrivals.per_s(60.0, book.now_s) <= (100.0 * 30.0 + 1) / 20.0


def test_a_request_may_be_ten_times_as_large_as_is_usual(book: Book) -> None:
    worker = book.join()
    answer = book.sent(cost=5000)
    book.report(cur_load=5000.0, working_request_idxs=[answer.request_idx])
    book.finish(worker, answer.request_idx, "Success")
    book.report(cur_load=0.0)
    book.sent(cost=40_000)
    assert worker.load > 30_000


def test_one_key_cannot_fill_the_book(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MOST_OF_ONE", 3)
    for _ in range(3):
        assert book.ask(owner="greedy").request_idx
    refused = book.ask(owner="greedy")
    assert isinstance(refused, WaitingAnswer)
    assert (refused.request_idx, refused.status) == (0, "too many requests are under way already: ask again")
    assert book.ask(owner="modest").request_idx


def test_what_was_answered_well_is_forgotten_soon_and_makes_room(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MOST_OF_ONE", 1)
    worker = book.join()
    answer = book.sent()
    book.finish(worker, answer.request_idx, "Success")
    assert book.sent(idx=answer.request_idx) == answer, "a late poll"
    book.pass_time(ENDED_S)
    book.dispatcher.forget(book.now_s)
    assert book.sent().request_idx != answer.request_idx


# --- while workers are on their way ---------------------------------------------------------------


@pytest.mark.parametrize(("start_s", "placed"), [(4.0, 2), (12.0, 2), (20.0, 3), (40.0, 4), (None, 4)])
def test_who_would_wait_longer_than_until_the_next_worker_is_ready_is_held(
    book: Book, start_s: float | None, placed: int
) -> None:
    """Requests of 8 s at a worker that may have 30 s in line; 10 s of it, target_queue_time, whatever comes."""
    book.join(1)
    second = book.join(2, state="starting")
    second.lead(Life.STARTING, book.now_s)
    book.group.start_s = start_s
    asked = [book.ask(cost=800) for _ in range(6)]
    assert sum(isinstance(answer, RouteAnswer) for answer in asked) == placed
    book.report(2)
    again = [book.ask(idx=answer.request_idx) for answer in asked if isinstance(answer, WaitingAnswer)]
    assert second.url in {answer.url for answer in again if isinstance(answer, RouteAnswer)}


def test_a_worker_that_is_long_overdue_holds_nobody(book: Book) -> None:
    book.group.start_s = 5.0
    book.join(1)
    book.join(2, state="starting").lead(Life.STARTING, book.now_s)
    book.pass_time(60.0)
    assert all(isinstance(book.ask(cost=800), RouteAnswer) for _ in range(4))


def test_how_long_a_start_took_is_remembered(book: Book) -> None:
    worker = book.join(1, state="starting")
    worker.lead(Life.STARTING, book.now_s)
    book.pass_time(7.0)
    book.report(1)
    assert book.group.start_s == 7.0


# --- a key's own limits ---------------------------------------------------------------------------


ONE_AT_ONCE = KeyLimits(concurrent=1)


def is_refused(book: Book, limits: KeyLimits, *, cost: float = 1.0) -> bool:
    try:
        book.ask(cost, limits=limits)
    except KeyLimitReached:
        return True
    return False


def test_who_stops_to_poll_is_not_under_way(book: Book) -> None:
    idx = book.ask(limits=ONE_AT_ONCE).request_idx
    book.pass_time(ABSENT_S - 1)
    book.ask(idx=idx, limits=ONE_AT_ONCE)
    book.pass_time(ABSENT_S - 1)
    assert is_refused(book, ONE_AT_ONCE)
    book.pass_time(1)
    assert not is_refused(book, ONE_AT_ONCE)


def test_a_request_that_never_arrives_is_under_way_until_its_ticket_is_of_no_use(book: Book) -> None:
    book.join()
    book.ask(limits=ONE_AT_ONCE)
    book.pass_time(ARRIVED_S - 1)
    assert is_refused(book, ONE_AT_ONCE)
    book.pass_time(1)
    assert not is_refused(book, ONE_AT_ONCE)


def test_one_that_a_worker_lists_is_under_way_for_as_long(book: Book) -> None:
    book.join()
    idx = book.ask(limits=ONE_AT_ONCE).request_idx
    for _ in range(10):
        book.pass_time(ARRIVED_S / 2)
        book.report(working_request_idxs=[idx])
    assert is_refused(book, ONE_AT_ONCE)


@pytest.mark.parametrize("status", ["Success", "Error", "Cancelled", "Rejected"])
def test_one_that_has_ended_however_is_not_under_way(book: Book, status: str) -> None:
    worker = book.join()
    book.finish(worker, book.ask(limits=ONE_AT_ONCE).request_idx, status)
    assert not is_refused(book, ONE_AT_ONCE)


def test_one_that_failed_and_is_tried_again_is_under_way_again_and_never_refused(book: Book) -> None:
    worker = book.join()
    limits = KeyLimits(concurrent=1, requests_per_minute=1)
    idx = book.ask(limits=limits).request_idx
    book.finish(worker, idx, "Error")
    book.ask(idx=idx, limits=limits)
    assert is_refused(book, ONE_AT_ONCE)


def test_a_claim_counts_as_what_the_workers_of_its_endpoint_count_for_such_claims(book: Book) -> None:
    book.join()
    book.endpoint.counted_per_claimed = 0.5
    limits = KeyLimits(workload_per_minute=100)
    book.ask(100, limits=limits)
    assert not is_refused(book, limits, cost=100)
    assert is_refused(book, limits, cost=1)


@pytest.mark.parametrize("ready", [True, False])
def test_what_a_worker_rejected_or_is_given_up_in_line_was_no_work(book: Book, *, ready: bool) -> None:
    worker = book.join(state="ready" if ready else "starting")
    limits = KeyLimits(workload_per_minute=100, concurrent=1)
    idx = book.ask(100, limits=limits).request_idx
    if ready:
        book.finish(worker, idx, "Rejected")
    else:
        book.dispatcher.give_up(idx)
    assert not is_refused(book, limits, cost=100)
