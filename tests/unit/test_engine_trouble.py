"""What is logged while an engine cannot be told."""

from __future__ import annotations

from pyworker.worker.core.trouble import REMIND_S, STALE_S, Trouble

REPORT, FINISHED = "/worker_status/", "/delete_requests/"


def test_two_calls_that_fail_alike_are_one_line_and_then_one_a_minute() -> None:
    trouble = Trouble()
    told = [trouble.failed(path, "401", "no", now_s) for now_s in map(float, range(181)) for path in (REPORT, FINISHED)]
    assert [line for line in told if line] == [
        "the engine cannot be told: no",
        *(f"the engine cannot be told, for {minutes} min: no" for minutes in (1, 2, 3)),
    ]


def test_another_kind_of_failure_is_told_once() -> None:
    trouble = Trouble()
    kinds = ["500", "no answer"] * 10
    assert [kind for kind in kinds if trouble.failed(REPORT, kind, kind, 1.0)] == ["500", "no answer"]


def test_the_end_is_told_once_and_what_comes_after_is_a_new_beginning() -> None:
    trouble = Trouble()
    assert trouble.succeeded(REPORT, 0.0) == ""
    trouble.failed(REPORT, "500", "no", 1.0)
    assert trouble.error == "no"
    assert [trouble.succeeded(REPORT, 2.0), trouble.succeeded(REPORT, 3.0)] == ["the engine answers again", ""]
    assert trouble.error == ""
    assert trouble.failed(REPORT, "500", "no", 4.0) == "the engine cannot be told: no"


def test_it_is_not_over_while_another_call_still_fails() -> None:
    trouble = Trouble()
    for now_s in map(float, range(5)):
        trouble.failed(FINISHED, "500", "no", now_s)
        assert trouble.succeeded(REPORT, now_s) == ""
    assert trouble.succeeded(FINISHED, 5.0) == "the engine answers again"


def test_a_call_that_failed_and_is_not_made_again_does_not_keep_it_going() -> None:
    trouble = Trouble()
    trouble.failed("/pubkey/", "500", "no", 0.0)
    assert trouble.succeeded(REPORT, STALE_S - 1) == ""
    assert trouble.succeeded(REPORT, STALE_S) == "the engine answers again"


def test_a_long_one_says_how_long() -> None:
    trouble = Trouble()
    trouble.failed(REPORT, "500", "no", 0.0)
    assert trouble.failed(REPORT, "500", "no", 10 * REMIND_S) == "the engine cannot be told, for 10 min: no"
