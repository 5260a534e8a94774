"""Tokens, binding and silence."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from pyworker.engine.core.derived import digest
from pyworker.engine.core.registry import LATELY_S, Registry
from pyworker.engine.core.silence import LOST_S, SILENT_S, Probe, lose_silent, probed, to_probe
from pyworker.engine.core.workers import Worker
from pyworker.errors import BadRequest, NotFound, WrongToken
from pyworker.wire import WorkerStatus
from tests.support.fleets import a_group, a_worker, an_endpoint

URL = "http://127.0.0.1:3000"


class Reports:
    """A registry with one endpoint and one token, ``secret``."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.endpoint = an_endpoint(self.registry)
        self.group = a_group(self.registry, self.endpoint)
        a_worker(self.registry, self.group)

    def to_probe(self, now_s: float) -> list[Worker]:
        return to_probe(self.registry.all_workers, now_s)

    def lose_silent(self, now_s: float) -> list[Worker]:
        return lose_silent(self.registry.all_workers, now_s)

    def hear(self, now_s: float = 0.0, **fields: Any) -> Worker:
        status = WorkerStatus(**{"id": 1, "mtoken": "secret", "url": URL, "state": "ready", **fields})
        worker = self.registry.identify(status, now_s)
        worker.report(status, {}, now_s)
        return worker


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_an_unknown_mtoken_is_refused(reports: Reports) -> None:
    with pytest.raises(WrongToken, match="pyworker worker token"):
        reports.hear(mtoken="guess")


def test_what_a_worker_said_before_it_was_started_anew_is_refused(reports: Reports) -> None:
    worker = reports.hear()
    reports.registry.retire_token(worker)
    with pytest.raises(WrongToken, match="an earlier start of worker 1"):
        reports.hear()
    reports.registry.give_token(worker, digest("another"))
    worker.begin_anew()
    with pytest.raises(WrongToken, match="an earlier start of worker 1"):
        reports.hear(url="http://127.0.0.1:9")
    assert reports.hear(mtoken="another").url == URL
    assert reports.registry.why_no_worker(reports.endpoint, 0.0) == "no worker has reported yet"
    assert reports.registry.worker_of("secret", 1, or_before=True) is worker
    reports.registry.give_token(worker, digest("a third"))
    with pytest.raises(WrongToken, match="pyworker worker token"):
        reports.registry.worker_of("secret", 1, or_before=True)


def test_those_who_wait_hear_of_unknown_tokens_for_a_while(reports: Reports) -> None:
    assert reports.registry.why_no_worker(reports.endpoint, 5.0) == "no worker has reported yet"
    with pytest.raises(WrongToken):
        reports.hear(mtoken="guess", now_s=5.0)
    assert "`pyworker worker token -e default`" in reports.registry.why_no_worker(reports.endpoint, 5.0)
    assert reports.registry.why_no_worker(reports.endpoint, 5.0 + LATELY_S) == "no worker has reported yet"


def test_the_first_report_binds_the_token_to_id_and_url(reports: Reports) -> None:
    worker = reports.hear()
    assert reports.hear() is worker
    with pytest.raises(WrongToken, match="id 1"):
        reports.hear(id=2)
    with pytest.raises(WrongToken, match=URL):
        reports.hear(url="http://127.0.0.1:3001")


def test_a_start_script_that_failed_reports_without_an_address_and_the_address_may_follow(reports: Reports) -> None:
    worker = reports.hear(url=None, state=None, error_msg="no space left on device")
    assert (worker.state, worker.is_ready) == ("ERROR", False)
    reports.hear()
    assert (worker.url, worker.is_ready) == (URL, True)


def test_a_url_that_is_known_beforehand_binds_too(reports: Reports) -> None:
    a_worker(reports.registry, reports.group, "bound", url="http://10.0.0.1:3000")
    with pytest.raises(WrongToken):
        reports.hear(mtoken="bound")
    with pytest.raises(BadRequest):
        a_worker(reports.registry, reports.group, "elsewhere", url="ftp://10.0.0.1")


def test_the_mtoken_itself_is_not_kept(reports: Reports) -> None:
    assert "secret" not in repr(vars(reports.registry))


def test_endpoints_have_names_that_are_used_once(reports: Reports) -> None:
    for name in ("", "default"):
        with pytest.raises(BadRequest):
            an_endpoint(reports.registry, name)
    with pytest.raises(BadRequest, match="there is default"):
        reports.registry.endpoint("nope")
    with pytest.raises(NotFound):
        reports.registry.endpoint_by_id(99)


# --- one id, two workers ---


def test_two_workers_that_report_with_one_id_are_told_of_once(reports: Reports) -> None:
    a_worker(reports.registry, reports.group, "other")
    first = reports.hear()
    second = reports.hear(mtoken="other", url="http://127.0.0.1:3001")
    assert reports.registry.namesake(second) is None  # the first may have been stopped
    assert reports.hear() is first
    assert reports.registry.namesake(first) is second
    assert [reports.registry.namesake(worker) for worker in (first, second)] == [None, None]


def test_a_worker_that_starts_anew_with_another_token_is_no_second_one(reports: Reports) -> None:
    a_worker(reports.registry, reports.group, "other")
    first = reports.hear()
    reports.hear(mtoken="other")
    assert reports.registry.namesake(first) is None


# --- silence ---


def test_a_worker_of_ours_is_probed_after_three_missing_reports_and_gone_when_the_probe_fails(reports: Reports) -> None:
    worker = reports.hear(now_s=0.0)
    assert reports.to_probe(SILENT_S - 0.1) == []
    assert reports.to_probe(SILENT_S) == [worker]
    assert probed(worker, Probe.SILENT, SILENT_S)
    assert reports.registry.workers(reports.endpoint) == []
    assert not worker.is_ready


def test_a_silent_worker_that_answers_stays_and_is_probed_once_a_second(reports: Reports) -> None:
    worker = reports.hear(now_s=0.0)
    assert reports.to_probe(SILENT_S) == [worker]
    assert not probed(worker, Probe.ANSWERED, SILENT_S)
    assert reports.to_probe(SILENT_S + 0.5) == []
    assert reports.to_probe(SILENT_S + 1.0) == [worker]


def test_a_worker_of_others_may_be_silent_for_longer(reports: Reports) -> None:
    worker = reports.hear(now_s=0.0, state=None, loadtime=1.0)
    assert reports.to_probe(LOST_S) == []
    assert reports.lose_silent(LOST_S - 0.1) == []
    assert worker.is_ready
    assert reports.lose_silent(LOST_S) == [worker]
    assert reports.lose_silent(LOST_S + 1) == []
    assert reports.registry.state_counts(reports.endpoint) == {}


def test_a_worker_that_reports_again_during_the_probe_stays_unless_it_refuses_connections(reports: Reports) -> None:
    worker = reports.hear(now_s=0.0)
    reports.to_probe(SILENT_S)
    reports.hear(now_s=SILENT_S + 0.5)
    assert not probed(worker, Probe.SILENT, SILENT_S + 1)
    assert probed(worker, Probe.REFUSED, SILENT_S + 1)


def test_a_worker_that_comes_back_is_there_again_and_its_number_goes_on(reports: Reports) -> None:
    worker = reports.hear(now_s=0.0)
    worker.send(1, 100.0, 0.0)
    reqnum = worker.next_reqnum()
    reports.lose_silent(LOST_S)
    assert worker.load == 0.0
    assert reports.hear(now_s=LOST_S + 1) is worker
    assert worker.is_ready
    assert worker.next_reqnum() == reqnum + 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1:3000",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:3000/path",
        "http://127.0.0.1:3000?query",
        "http://user@127.0.0.1:3000",
        "http://[::1",
        "http://0.0.0.0:3000",
        "http://224.0.0.1:3000",
        "http://169.254.169.254",
        "http://worker.example.com:3000",
        "not a url",
        "http://127.0.0.1:" + "0" * 300,
    ],
)
def test_an_address_that_is_none_is_refused(reports: Reports, url: str) -> None:
    with pytest.raises(BadRequest):
        reports.hear(url=url)


@pytest.mark.parametrize("url", [URL, "https://10.1.2.3:3000", "http://[::1]:3000", "http://localhost:3000/"])
def test_a_plain_address_is_taken(reports: Reports, url: str) -> None:
    assert reports.hear(url=url).url == url


def test_an_address_outside_the_allowed_networks_is_refused() -> None:
    registry = Registry([ip_network("10.0.0.0/8")])
    a_worker(registry, a_group(registry, an_endpoint(registry)))
    with pytest.raises(BadRequest, match="none of the networks"):
        registry.identify(WorkerStatus(id=1, mtoken="secret", url=URL), 0.0)
    assert registry.identify(WorkerStatus(id=1, mtoken="secret", url="http://10.9.8.7:1"), 0.0)


# --- starting anew ---


def test_a_worker_that_was_started_anew_is_noticed_by_its_counts(reports: Reports) -> None:
    worker = reports.hear(num_requests_recieved=5)
    reports.hear(num_requests_recieved=6)
    assert worker.starts == 0
    reports.hear(num_requests_recieved=0)
    assert worker.starts == 1


def test_a_worker_of_others_that_was_started_anew_is_noticed_by_its_load_time(reports: Reports) -> None:
    worker = reports.hear(state=None, loadtime=12.5)
    reports.hear(state=None, loadtime=0.0)  # as they do after a while
    reports.hear(state=None, loadtime=12.5)
    assert worker.starts == 0
    reports.hear(state=None, loadtime=13.0)
    assert worker.starts == 1


@pytest.mark.parametrize(
    ("probe", "why"),
    [
        (Probe.REFUSED, "nothing listens at its address any more: it has ended, or its machine is gone"),
        (Probe.SILENT, "it has said nothing for 4 s, and does not answer when it is called"),
    ],
)
def test_a_worker_that_is_gone_says_why_until_it_reports_again(reports: Reports, probe: Probe, why: str) -> None:
    worker = reports.hear()
    assert probed(worker, probe, SILENT_S + 1)
    assert worker.info(SILENT_S + 1, 0.0).error_msg == why
    assert reports.hear(SILENT_S + 2).info(SILENT_S + 2, 0.0).error_msg == ""


def test_a_worker_of_others_that_says_nothing_says_so(reports: Reports) -> None:
    worker = reports.hear(state=None, loadtime=1.0)
    assert reports.lose_silent(LOST_S + 1) == [worker]
    assert worker.error == "it has said nothing for 26 s"
