"""decide(): from what is seen to what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyworker.engine.core.scaling.decision import decide
from pyworker.engine.core.scaling.memory import GroupMemory, Memory, Tempo
from pyworker.engine.core.scaling.view import Create, GroupView, Phase, Start, View
from tests.support.views import GROUP, active, cold, failed, settled, short, starting, view, watch, workers

KNOWN = Memory(groups=(GroupMemory(1, version=1, capacity_per_s=100.0),))
EXTERNAL = GroupView(1, "outside", can_start=False)


# --- up -------------------------------------------------------------------------------------------

UP: list[tuple[str, View, dict[str, Any]]] = [
    ("enough", view(active(2), load=180), {}),
    ("one more than is ready", view(active(2), cold(1), load=181), {"start": [101]}),
    ("cold ones first, then new ones", view(active(2), cold(1), load=300), {"start": [101], "create": {1: 1}}),
    ("what is on its way counts", view(active(2), starting(2), cold(1), load=360), {}),
    ("what stops does not", view(active(2), workers(Phase.STOPPING), load=200, cold_mult=1), {"create": {1: 1}}),
    ("min_load is always servable", view(active(1), min_load=180, load=10), {"create": {1: 1}}),
    ("target_util", view(active(2), load=150, target_util=0.5), {"create": {1: 1}}),
    ("max_workers", view(active(2), load=900, max_workers=3), {"create": {1: 1}}),
    ("max_workers of the group", view(active(2), load=900, groups=[replace(GROUP, max_workers=2)]), {}),
    ("one that leaves counts", view(active(1), workers(Phase.LEAVING, first=2), load=900, max_workers=2), {}),
    ("one request is one worker's", replace(view(active(1), load=900), stable_requests=1), {}),
    ("two requests are two workers'", replace(view(active(1), load=900), stable_requests=2), {"create": {1: 1}}),
    ("no reserve before a whole window", replace(view(active(2), load=180, cold_mult=3), watched=False), {}),
    ("min_load's reserve", replace(view(active(2), min_load=180, cold_mult=2), watched=False), {"create": {1: 2}}),
    ("cold_mult", view(active(2), load=180, cold_mult=3), {"create": {1: 4}}),
    ("cold_mult, cold ones count", view(active(2), cold(4), load=180, cold_mult=3), {}),
    ("min_cold_load", view(active(1), load=90, min_cold_load=250), {"create": {1: 2}}),
    ("min_cold_load while idle", view(cold(1), min_cold_load=250), {"create": {1: 2}}),
    ("cold_workers", view(active(1), cold(1), load=10, cold_workers=4), {"create": {1: 2}}),
    ("one never loaded", view(active(1), cold(1, was_ready=False), load=9, cold_workers=2), {"start": [101]}),
    ("nothing is wanted", view(), {}),
    ("never to zero", view(cold(2), inactivity_timeout=-1), {"start": [101]}),
    ("a request that is held starts a cold one", view(cold(2), held=5), {"start": [101]}),
    ("external ones are counted and not started", view(active(1), cold(1), load=900, groups=[EXTERNAL]), {}),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in UP], ids=[row[0] for row in UP])
def test_what_is_started(seen: View, expected: dict[str, Any]) -> None:
    assert short(decide(seen, KNOWN).actions) == expected


def test_a_request_that_is_held_at_zero_makes_a_worker_when_none_is_cold() -> None:
    assert short(decide(view(held=5), KNOWN).actions) == {"create": {1: 1}}


def test_the_cold_one_that_ran_last_is_started_first() -> None:
    seen = view(cold(1, since_s=-30), cold(1, first=102, since_s=-10), cold(1, first=103, was_ready=False), held=5)
    assert short(decide(seen, KNOWN).actions) == {"start": [102]}


def test_the_reason_is_in_words_and_numbers() -> None:
    seen = view(active(2, capacity_per_s=300.0), cold(1, capacity_per_s=310.0), load=812)
    decision = decide(seen, KNOWN)
    assert decision.actions == (
        Start(101, "load 812/s at target_util 0.9 wants 902/s, active 600/s of 2 workers: start a cold one"),
    )
    assert decision.why == "load 812/s at target_util 0.9 wants 902/s; active 600/s of 2 workers, 1 cold: start 1"


def test_a_line_for_the_log_is_there_when_nothing_is_done() -> None:
    assert decide(view(active(2), load=100), KNOWN).why == (
        "load 100/s at target_util 0.9 wants 111/s; active 200/s of 2 workers: nothing to do"
    )


# --- bursts and queues ----------------------------------------------------------------------------


def test_twice_what_active_workers_can_do_is_a_burst() -> None:
    crowd = active(1, busy=50)
    assert short(decide(view(crowd, load=20, burst=199), KNOWN).actions) == {}
    assert short(decide(view(crowd, load=20, burst=360), KNOWN).actions) == {"create": {1: 3}}


def test_a_burst_counts_until_a_stable_window_has_passed_without() -> None:
    memory = decide(view(active(1, busy=50), load=20, burst=360), KNOWN).memory
    later = view(active(4, busy=50), load=40, burst=50, now_s=59)
    assert decide(later, memory).active_target_per_s == pytest.approx(400)
    assert decide(replace(later, now_s=61), decide(later, memory).memory).active_target_per_s < 50


def test_a_burst_makes_no_reserve() -> None:
    seen = view(active(1, busy=50), load=20, burst=360, cold_mult=3)
    assert short(decide(seen, KNOWN).actions) == {"create": {1: 3}}


@pytest.mark.parametrize(("queue", "more"), [(900, 0), (1001, 1), (2900, 2)])
def test_a_queue_longer_than_target_queue_time_wants_what_makes_it_short(queue: float, more: int) -> None:
    seen = view(active(1, load=queue - 400, busy=30), load=50, held=400, held_requests=10)
    expected = {"create": {1: more}} if more else {}
    assert short(decide(seen, KNOWN).actions) == expected


def test_what_is_wanted_fast_is_no_more_than_a_worker_for_each_request() -> None:
    seen = view(active(1, load=5000, busy=1), load=50, held=3000, held_requests=1)
    assert short(decide(seen, KNOWN).actions) == {"create": {1: 1}}


# --- what one can do ------------------------------------------------------------------------------


def test_test_workers_are_made_first_and_nothing_more_until_one_is_measured() -> None:
    first = decide(view(held=5000, held_requests=50), Memory())
    assert short(first.actions) == {"create": {1: 3}}
    assert "one worker is to be measured first" in first.why
    unmeasured = view(starting(3, capacity_per_s=0.0), held=5000, held_requests=50, now_s=1)
    assert short(decide(unmeasured, first.memory).actions) == {}
    measured = view(active(1), starting(2, capacity_per_s=0.0), held=5000, held_requests=50, now_s=2)
    assert short(decide(measured, first.memory).actions) == {"create": {1: 2}}


def test_test_workers_are_bounded_by_what_is_wanted_and_by_max_workers() -> None:
    assert short(decide(view(cold_workers=1), Memory()).actions) == {"create": {1: 1}}
    assert short(decide(view(held=5, max_workers=2), Memory()).actions) == {"create": {1: 2}}
    assert short(decide(view(), Memory()).actions) == {}


def test_what_was_measured_is_remembered_when_the_workers_are_gone() -> None:
    memory = decide(view(active(3), load=100), Memory()).memory
    assert short(decide(view(held=900, held_requests=9, now_s=1), memory).actions) == {"create": {1: 1}}


def test_a_liar_does_not_stand_for_thousands() -> None:
    liar = active(1, first=9, capacity_per_s=1e12)
    assert short(decide(view(active(3), liar, load=10_000, max_workers=30), KNOWN).actions) == {"create": {1: 26}}


def test_the_group_whose_workers_do_most_gets_the_next() -> None:
    groups = [GROUP, GroupView(2, "b")]
    quick = active(1, first=2, group_id=2, capacity_per_s=300.0)
    assert short(decide(view(active(1), quick, load=500, groups=groups), Memory()).actions) == {"create": {2: 1}}


def test_groups_that_are_as_good_take_turns() -> None:
    groups = [GROUP, GroupView(2, "b")]
    both = [*active(1), *active(1, first=2, group_id=2)]
    assert short(decide(view(both, load=540, groups=groups), Memory()).actions) == {"create": {1: 2, 2: 2}}


# --- down -----------------------------------------------------------------------------------------

DOWN: list[tuple[str, View, dict[str, Any]]] = [
    ("the others can do it", view(active(3), load=160), {"stop": [1]}),
    ("the others could not do a tenth more", view(active(3), load=170), {}),
    ("the least busy first", view(active(1, busy=2, load=9), active(2, first=2, busy=1), load=160), {"stop": [2]}),
    ("as many as can go", view(active(5), load=80), {"stop": [1, 2, 3, 4]}),
    ("not below min_load", view(active(3), load=1, min_load=180), {"stop": [1]}),
    ("to zero", view(active(2)), {"stop": [1, 2]}),
    ("not while something is in flight", view(active(2, busy=1, load=5)), {"stop": [1]}),
    ("not while the inactivity timeout runs", view(active(2), inactivity_timeout=2000), {"stop": [1]}),
    ("never to zero", view(active(2), inactivity_timeout=-1), {"stop": [1]}),
    ("a timeout of 0 is no gate", view(active(2), inactivity_timeout=0), {"stop": [1, 2]}),
    ("external ones stay", view(active(3), load=1, groups=[EXTERNAL]), {}),
    ("a cold one that nobody wanted for long", view(active(1), cold(2), load=80), {"destroy": [101, 102]}),
    ("a reserve stays", view(active(1), cold(2), load=80, cold_mult=3), {}),
    ("a reserve as min_cold_load", view(active(1), cold(3), load=80, min_cold_load=300), {"destroy": [101]}),
    ("cold_workers stay", view(cold(3), cold_workers=2), {"destroy": [101]}),
    ("the longest cold first", view(cold(1, since_s=-900), cold(1, first=102, since_s=-999), cold_workers=1),
     {"destroy": [102]}),
    ("not yet", view(cold(2, since_s=-599)), {}),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "expected"), [row[1:] for row in DOWN], ids=[row[0] for row in DOWN])
def test_what_is_stopped_and_destroyed(seen: View, expected: dict[str, Any]) -> None:
    assert short(settled(seen).actions) == expected


def test_a_stop_waits_until_a_whole_stable_window_wanted_less() -> None:
    memory = watch(view(active(3), load=270), 100)
    less = view(active(3), load=100)
    assert short(decide(replace(less, now_s=59), memory).actions) == {}
    assert short(decide(replace(less, now_s=61), watch(replace(less, now_s=59), 58, memory)).actions) == {"stop": [1]}


def test_nothing_is_stopped_before_a_window_was_watched() -> None:
    """An engine that has just started does not know the load yet; nor does one that stood still."""
    quiet = view(active(3), load=1)
    assert short(decide(quiet, Memory()).actions) == {}
    assert short(decide(replace(quiet, now_s=500), watch(quiet, 100)).actions) == {}


def test_what_was_just_started_is_not_stopped() -> None:
    seen = view(active(1, since_s=-59), active(1, first=2, since_s=-61), load=1)
    assert short(settled(seen).actions) == {"stop": [2]}
    assert short(settled(view(active(2, since_s=-59), load=1)).actions) == {}


def test_a_stop_says_what_stays() -> None:
    (stop,) = settled(view(active(3), load=160)).actions
    assert stop.reason == (
        "load 160/s at target_util 0.9 wants 178/s; at most 196/s in the last 60 s, "
        "and 200/s of 2 workers stay active: stop one"
    )


def test_nothing_is_left_when_the_last_active_worker_stops_whatever_its_capacity() -> None:
    capacities = {1: 0.1, 2: 0.2, 3: 0.3}  # their sum less each of them is not quite zero
    crowd = [active(1, first=number, capacity_per_s=each) for number, each in capacities.items()]
    *_, stop = settled(view(*crowd, cold_workers=3)).actions
    assert "and 0/s of 0 workers stay active: stop one" in stop.reason


def test_a_pause_lets_all_be_cold() -> None:
    seen = view(active(2), starting(1), failed(1), cold(1), load=500, paused=True, min_load=100.0)
    assert short(decide(seen, KNOWN).actions) == {"stop": [1, 2, 301, 201]}


def test_a_lower_limit_holds_at_once_and_what_serves_goes_last() -> None:
    seen = view(active(2, busy=1), active(1, first=3), starting(1), cold(1), load=500, max_workers=2)
    assert short(decide(seen, KNOWN).actions) == {"destroy": [101, 301, 3]}


def test_a_constant_load_brings_it_to_rest() -> None:
    assert [short(settled(view(active(4), load=load)).actions) for load in (330, 340, 350, 359)] == [{}] * 4


# --- crashes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 5), (2, 10)])
def test_a_failed_worker_is_started_again_after_a_while(failures: int, wait_s: float) -> None:
    seen = view(failed(1, failures=failures, since_s=0.0), load=50)
    assert short(decide(replace(seen, now_s=wait_s - 0.1), KNOWN).actions) == {}
    assert short(decide(replace(seen, now_s=wait_s), KNOWN).actions) == {"start": [201]}


def test_a_cold_one_serves_in_the_meantime_and_the_failed_one_becomes_cold() -> None:
    assert short(decide(view(failed(1), cold(1), load=50), KNOWN).actions) == {"start": [101], "stop": [201]}


def test_after_three_failures_it_is_replaced_later() -> None:
    decision = decide(view(failed(1, failures=3, reason="out of memory"), load=50), KNOWN)
    assert short(decision.actions) == {"destroy": [201]}
    assert decision.actions[0].reason == "failed 3 times in a row, last: out of memory: replace it"
    assert short(decide(view(load=50, now_s=19), decision.memory).actions) == {}
    assert short(decide(view(load=50, now_s=20), decision.memory).actions) == {"create": {1: 1}}


def broken(failed_workers: int, now_s: float = 0.0) -> Memory:
    record = GroupMemory(1, 1, 100.0, failed=failed_workers, failed_s=now_s, failure="out of memory")
    return Memory(groups=(record,))


def test_a_group_in_trouble_tries_one_at_a_time() -> None:
    assert short(decide(view(load=500, now_s=1000), broken(2)).actions) == {"create": {1: 1}}
    assert short(decide(view(starting(1), load=500, now_s=1000), broken(2)).actions) == {}


def test_its_cold_workers_that_were_well_are_started_all_the_same() -> None:
    seen = view(cold(2), cold(1, first=103, failures=1), load=250, now_s=1)
    assert short(decide(seen, broken(1)).actions) == {"start": [101, 102]}


def test_a_group_is_given_up_with_its_reason_and_tried_again_after_long() -> None:
    decision = decide(view(failed(1, failures=3, reason="out of memory"), load=50), broken(4))
    assert decision.groups[1] == (
        "given up: 5 workers in a row failed, last: out of memory; tried again in 600 s; one worker does 100/s"
    )
    assert short(decide(view(load=50, now_s=599), decision.memory).actions) == {}
    assert short(decide(view(load=50, now_s=600), decision.memory).actions) == {"create": {1: 1}}


def test_another_version_gives_a_group_another_chance() -> None:
    seen = view(load=50, now_s=1, groups=[replace(GROUP, version=2)])
    assert short(decide(seen, broken(5)).actions) == {"create": {1: 1}}


def test_other_groups_take_over_from_one_that_was_given_up() -> None:
    groups = [GROUP, GroupView(2, "b")]
    memory = replace(broken(5), groups=(*broken(5).groups, GroupMemory(2, 1, 10.0)))
    seen = view(failed(1, failures=1), cold(1), load=50, groups=groups, now_s=1)
    assert short(decide(seen, memory).actions) == {"destroy": [201], "create": {2: 6}}


def test_a_healthy_worker_ends_the_trouble() -> None:
    ready = view(active(1, since_s=10), load=300, now_s=69)
    assert decide(ready, broken(2)).memory.groups[0].failed == 2
    assert decide(replace(ready, now_s=70), broken(2)).memory.groups[0].failed == 0
    old = view(active(1, since_s=-10), load=300, now_s=69)
    assert decide(old, broken(2)).memory.groups[0].failed == 2, "it was ready before the others failed"


def test_one_that_never_becomes_ready_has_failed() -> None:
    decision = decide(view(starting(1, since_s=0.0), load=50, now_s=1800), KNOWN)
    assert short(decision.actions) == {"destroy": [301]}
    assert decision.memory.groups[0].failure == "not ready after 1800 s"


def test_a_long_failure_is_cut_to_what_a_log_can_hold() -> None:
    decision = decide(view(failed(1, failures=3, reason="x" * 10_000 + "the end"), load=50), KNOWN)
    assert decision.actions[0].reason.count("x") < 400
    assert "the end" in decision.actions[0].reason


# --- the tempo is an argument ---------------------------------------------------------------------


def test_shorter_windows_decide_sooner() -> None:
    quick = Tempo(stable_s=2.0, settled_s=1.0, cold_s=3.0)
    seen = view(active(2, since_s=-1.0), idle_s=2.0)
    assert short(decide(seen, watch(seen, 2, tempo=quick, step_s=1.0), quick).actions) == {"stop": [1, 2]}


def test_a_worker_of_a_group_that_is_gone_counts_and_is_left_alone() -> None:
    stranger = active(1, first=7, group_id=77)
    assert short(settled(view(stranger, idle_s=1000)).actions) == {}
    assert short(decide(view(stranger, load=900, max_workers=2), KNOWN).actions) == {"create": {1: 1}}


def test_a_new_worker_has_its_groups_version() -> None:
    seen = view(load=50, groups=[replace(GROUP, version=4)])
    (action,) = decide(seen, KNOWN).actions
    assert isinstance(action, Create)
    assert action.version == 4
