"""Rolling updates as decide() makes them: a canary, the others, and the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pyworker.engine.core.scaling.decision import Decision, decide
from pyworker.engine.core.scaling.memory import GroupMemory, Memory
from pyworker.engine.core.scaling.view import Create, Start, Update, View
from tests.support.views import GROUP, active, cold, failed, short, starting, view, watch

GROUPS = [replace(GROUP, version=2, previous_version=1)]
RECORD = GroupMemory(1, version=2, capacity_per_s=100.0, proven_version=1)
UNTRIED = Memory(groups=(RECORD,))
PROVEN = Memory(groups=(replace(RECORD, proven_version=2),))


def seen(*members: Any, **fields: Any) -> View:
    """An endpoint whose group is at version 2."""
    return view(*members, **({"groups": GROUPS, "load": 10.0} | fields))


def updates(decision: Decision) -> dict[int, tuple[int, bool]]:
    """Version and start, by worker."""
    return {
        action.worker_id: (action.version, action.start) for action in decision.actions if isinstance(action, Update)
    }


# --- the canary -----------------------------------------------------------------------------------

CANARY: list[tuple[str, View, dict[str, Any]]] = [
    ("a cold one", seen(active(2), cold(2)), {"update": [101]}),
    ("a new one, where there is room", seen(active(2)), {"create": {1: 1}}),
    ("one that failed, where there is none", seen(active(1), failed(1), load=90, max_workers=2), {"update": [201]}),
    ("an active one that the load does not need", seen(active(3), max_workers=3), {"update": [1]}),
    ("the only one, where there is no room", seen(active(1), load=80, max_workers=1), {"update": [1]}),
    ("none, when each is needed and there is no room", seen(active(2), load=170, max_workers=2), {}),
    ("one is enough: it starts", seen(active(2), cold(2), starting(1, version=2)), {}),
    ("one is enough: it is ready, but not for long", seen(active(2), active(1, first=9, since_s=-9, version=2)), {}),
    ("it failed once, and will be tried again", seen(active(2), failed(1, since_s=-1, version=2)), {}),
    ("it failed once, and is tried again", seen(active(2), failed(1, since_s=-5, version=2)), {"start": [201]}),
    ("it was stopped before it was ready", seen(active(2), cold(1, version=2)), {"start": [101]}),
    ("external workers are not updated", seen(active(2), groups=[replace(GROUPS[0], can_start=False)]), {}),
    ("nothing in a pause", seen(cold(2), paused=True), {}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "expected"), [row[1:] for row in CANARY], ids=[row[0] for row in CANARY])
def test_one_worker_goes_first(before: View, expected: dict[str, Any]) -> None:
    assert short(decide(before, UNTRIED).actions) == expected


def test_a_canary_is_started() -> None:
    decision = decide(seen(active(2), cold(2)), UNTRIED)
    assert updates(decision) == {101: (2, True)}
    assert decision.actions[0].reason == "version 2 is tried with one worker first: a cold one"
    (made,) = decide(seen(active(2)), UNTRIED).actions
    assert made == Create(1, 2, "version 2 is tried with one worker first: a new one")


def test_the_only_worker_is_updated_in_place_and_it_is_said() -> None:
    (action,) = decide(seen(active(1), load=80, max_workers=1), UNTRIED).actions
    assert "there is one worker and no room for another: requests are held" in action.reason


def test_an_update_that_waits_says_so_and_so_does_its_group() -> None:
    waits = "waits for 120 s more, the load needs every active worker and there is no room for another"
    decision = decide(seen(active(2), load=170, max_workers=2), UNTRIED)
    assert f"{waits} (max_workers is 2)" in decision.why
    assert f"0 of 2 have it; version 2 is tried with one worker first: {waits}" in decision.groups[1]
    group = replace(GROUPS[0], max_workers=2)
    assert f"{waits} (max_workers of a is 2)" in decide(seen(active(2), load=170, groups=[group]), PROVEN).waits[1]
    assert decide(seen(active(2), load=20, max_workers=2), PROVEN).waits == {}


FULL = seen(active(2), load=170, max_workers=2)


@pytest.mark.parametrize("memory", [UNTRIED, PROVEN])
def test_under_a_load_that_needs_every_worker_an_update_is_patient_but_not_for_ever(memory: Memory) -> None:
    memory = watch(FULL, 100.0, memory)
    assert decide(replace(FULL, now_s=19.0), memory).actions == ()
    decision = decide(replace(FULL, now_s=20.0), memory)
    assert updates(decision) == {1: (2, True)}
    assert "the load has needed every active worker for 120 s: one at a time" in decision.actions[0].reason


def test_then_one_goes_after_the_other_without_more_patience() -> None:
    memory = decide(replace(FULL, now_s=120.0), decide(FULL, PROVEN).memory).memory
    later = {"now_s": 150.0, "load": 170, "max_workers": 2}
    for comes in (starting(1, version=2), active(1, first=9, version=2, since_s=145.0)):
        decision = decide(seen(active(1), comes, **later), memory)
        assert decision.actions == ()
    many = seen(active(8), starting(1, version=2), now_s=150.0, load=850, max_workers=9)
    decision = decide(many, memory)
    assert decision.actions == ()
    assert "waits until the one before is ready" in decision.waits[1]
    back = active(1, first=9, version=2, since_s=130.0)
    assert updates(decide(seen(active(1), back, **later), memory)) == {1: (2, True)}


def test_patience_begins_anew_once_the_load_has_let_one_go() -> None:
    memory = decide(FULL, PROVEN).memory
    memory = decide(seen(active(3), load=10, max_workers=3, now_s=100.0), memory).memory
    full = {"load": 170, "max_workers": 2}
    decision = decide(seen(active(1), active(1, first=9, version=2), now_s=150.0, **full), memory)
    assert "waits for 120 s more" in decision.waits[1]
    memory = decide(seen(active(2, version=2), now_s=200.0, **full), decision.memory).memory
    assert memory.groups[0].waits_s is None


def test_until_it_is_proven_the_load_gets_the_version_before() -> None:
    decision = decide(seen(active(1), starting(1, version=2), cold(1), load=270), UNTRIED)
    assert Start(101, decision.actions[0].reason) in decision.actions
    made = decide(seen(active(1), starting(1, version=2), load=270), UNTRIED)
    assert [action.version for action in made.actions if isinstance(action, Create)] == [1]


# --- the others -----------------------------------------------------------------------------------


def test_a_canary_that_stays_ready_proves_its_version() -> None:
    ready = active(1, first=9, since_s=-10, version=2)
    assert updates(decide(seen(active(1), ready, cold(2)), UNTRIED)) == {
        1: (2, True),
        101: (2, False),
        102: (2, False),
    }


ROLL: list[tuple[str, View, dict[int, tuple[int, bool]]]] = [
    ("one of few at a time", seen(active(3)), {1: (2, True)}),
    ("a quarter of many", seen(active(12)), {1: (2, True), 2: (2, True), 3: (2, True)}),
    ("no more than a quarter", seen(active(7), starting(1, version=2)), {1: (2, True)}),
    ("not the next while one is on its way", seen(active(2), starting(1, version=2)), {}),
    ("as many as the load spares", seen(active(12), load=950), {1: (2, True)}),
    ("the least busy first", seen(active(2, busy=1, load=5), active(1, first=3)), {3: (2, True)}),
    ("a cold one as it lies", seen(active(1, version=2), cold(1)), {101: (2, False)}),
    ("one that starts, at once", seen(active(1, version=2), starting(1)), {301: (2, True)}),
    ("one that failed and is needed", seen(active(1, version=2), failed(1), load=150), {201: (2, True)}),
    ("one that failed and is not", seen(active(1, version=2), failed(1, failures=9)), {201: (2, False)}),
    ("a cold one that is needed, by starting it", seen(active(1, version=2), cold(1), load=150), {101: (2, True)}),
    ("none that has it", seen(active(2, version=2), cold(1, version=2)), {}),
    ("the last one, when nothing is asked", seen(active(1), load=0.0, idle_s=900), {1: (2, True)}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "expected"), [row[1:] for row in ROLL], ids=[row[0] for row in ROLL])
def test_the_others_follow(before: View, expected: dict[int, tuple[int, bool]]) -> None:
    assert updates(decide(before, PROVEN)) == expected


def test_when_the_load_needs_every_worker_another_takes_its_place_first() -> None:
    full = seen(active(2), load=170)
    assert short(decide(full, PROVEN).actions) == {"create": {1: 1}}
    assert short(decide(seen(active(2), cold(1, version=2), load=170), PROVEN).actions) == {"start": [101]}
    ready = seen(active(2), active(1, first=9, version=2), load=170)
    assert updates(decide(ready, PROVEN)) == {1: (2, True)}


def test_it_never_exceeds_max_workers() -> None:
    decision = decide(seen(active(2), load=170, max_workers=2), PROVEN)
    assert decision.actions == ()
    assert "to version 2: waits" in decision.why


def test_what_is_done_is_reported() -> None:
    assert decide(seen(active(2, version=2)), PROVEN).updated == {1}
    halfway = decide(seen(active(1), starting(1, version=2)), PROVEN)
    assert halfway.updated == frozenset()
    assert halfway.groups[1] == "updating to version 2: 1 of 2 have it; one worker does 100/s"


# --- back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "reason"),
    [
        (failed(1, version=2, failures=2, reason="no such model"), "worker 201 failed 2 times: no such model"),
        (starting(1, version=2, since_s=-1800), "worker 301 was not ready after 1800 s"),
    ],
    ids=["fails twice", "never ready"],
)
def test_a_version_that_does_not_become_ready_is_rolled_back(canary: Any, reason: str) -> None:
    decision = decide(seen(active(2), canary, load=100), UNTRIED)
    assert decision.rolled_back == {1: reason}
    assert {version for version, _ in updates(decision).values()} == {1}
    assert decision.actions[0].reason.startswith(f"back to version 1 ({reason})")
    assert decision.groups[1].startswith(f"version 2 rolled back: {reason}")


def test_it_is_not_tried_again_and_new_workers_have_the_version_before() -> None:
    memory = decide(seen(active(2), failed(1, version=2, failures=2)), UNTRIED).memory
    later = decide(seen(active(2), load=270, now_s=1), memory)
    assert [action.version for action in later.actions if isinstance(action, Create)] == [1]
    assert later.rolled_back.keys() == {1}
    told = decide(seen(active(2), groups=[replace(GROUP, version=1)], now_s=2), memory)
    assert (told.actions, dict(told.rolled_back), told.updated) == ((), {}, {1})


def test_active_workers_go_back_as_carefully_as_they_came() -> None:
    memory = decide(seen(failed(1, version=2, failures=2)), UNTRIED).memory
    both = [*active(2, version=2), *active(2, first=3)]
    assert updates(decide(seen(both, load=100), memory)) == {1: (1, True)}
    full = decide(seen(both, load=350, max_workers=4), memory)
    assert (full.actions, "waits" in full.why) == ((), True)


def test_the_only_worker_goes_back() -> None:
    decision = decide(seen(failed(1, version=2, failures=2), load=50, max_workers=1), UNTRIED)
    assert decision.rolled_back.keys() == {1}
    assert updates(decision) == {201: (1, True)}


def test_a_version_that_was_ready_once_is_not_rolled_back() -> None:
    decision = decide(seen(failed(2, version=2, failures=2), load=50), PROVEN)
    assert not decision.rolled_back
    assert not updates(decision)


def test_the_next_version_is_tried_anew() -> None:
    memory = decide(seen(active(2), failed(1, version=2, failures=2)), UNTRIED).memory
    third = seen(active(2), cold(1), groups=[replace(GROUP, version=3, previous_version=1)], now_s=5)
    assert updates(decide(third, memory)) == {101: (3, True)}
