"""decide(), whatever it sees: limits hold, nothing is stopped that is needed, numbers stay finite."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyworker.engine.core.parameters import EndpointParameters
from pyworker.engine.core.scaling.decision import Decision, decide
from pyworker.engine.core.scaling.memory import Memory, Tempo
from pyworker.engine.core.scaling.view import Create, Destroy, GroupView, Phase, Start, Stop, Update, View, WorkerView

ODD = st.sampled_from([0.0, 1e-9, 1.0, 95.0, 1e3, 1e12])
LOADS = st.floats(0, 500) | ODD
QUICK = Tempo(stable_s=3.0, settled_s=0.0, cold_s=6.0)


def group_views(number: int) -> st.SearchStrategy[GroupView]:
    return st.builds(
        GroupView,
        id=st.just(number),
        name=st.just(f"g{number}"),
        can_start=st.booleans() if number > 1 else st.just(value=True),
        max_workers=st.none() | st.integers(0, 12),
        test_workers=st.integers(1, 4),
        version=st.integers(1, 2),
        previous_version=st.sampled_from([None, 1]),
    )


def worker_views(number: int) -> st.SearchStrategy[WorkerView]:
    return st.builds(
        WorkerView,
        id=st.just(number),
        group_id=st.sampled_from([1, 1, 1, 2, 3, 4]),
        phase=st.sampled_from([*Phase, Phase.ACTIVE, Phase.ACTIVE, Phase.ACTIVE, Phase.COLD]),
        since_s=st.floats(-5000, 0),
        capacity_per_s=st.sampled_from([90.0, 100.0, 110.0]) | st.sampled_from([0.0, 1e-9, 100.0, 1e12]),
        load=st.sampled_from([0.0, 0.0, 5.0, 1e12]),
        busy=st.sampled_from([0, 0, 1, 100]),
        was_ready=st.booleans(),
        failures=st.sampled_from([0, 1, 2, 3, 10**6]),
        version=st.integers(1, 2),
        reason=st.sampled_from(["", "out of memory", "x" * 5000]),
    )


PARAMETERS = st.builds(
    EndpointParameters,
    min_load=st.sampled_from([0.0, 0.0, 1.0, 95.0, 1e12]),
    target_util=st.sampled_from([1e-9, 0.5, 0.9, 1.0]),
    cold_mult=st.sampled_from([1.0, 3.0, 1e308]),
    min_cold_load=ODD,
    cold_workers=st.sampled_from([0, 1, 5, 10_000]),
    max_workers=st.integers(0, 20),
    max_queue_time=st.sampled_from([1e-9, 30.0, 1e9]),
    target_queue_time=st.sampled_from([1e-9, 10.0]),
    inactivity_timeout=st.sampled_from([None, 0.0, -1.0, 100.0]),
)
VIEWS = st.builds(
    View,
    now_s=st.floats(0, 1e9),
    parameters=PARAMETERS,
    groups=st.integers(1, 3).flatmap(lambda count: st.tuples(*map(group_views, range(1, count + 1)))),
    workers=st.integers(0, 12).flatmap(lambda count: st.tuples(*map(worker_views, range(count)))),
    stable_load_per_s=LOADS,
    stable_requests=st.sampled_from([0, 3, 1_000_000]),
    watched=st.booleans(),
    burst_load_per_s=LOADS,
    held=st.just(0.0) | LOADS,
    held_requests=st.sampled_from([0, 0, 1, 10_000]),
    idle_s=st.sampled_from([0.0, 1000.0]),
    paused=st.sampled_from([False, False, False, True]),
)


def plausible(seen: View) -> View:
    """The same with workers and loads of a usual size, and nothing held."""
    workers = [replace(worker, capacity_per_s=100.0 + worker.id % 3, load=worker.busy * 1.0) for worker in seen.workers]
    parameters = EndpointParameters(
        min_load=min(seen.parameters.min_load, 95.0),
        max_workers=seen.parameters.max_workers,
        cold_workers=0,
        inactivity_timeout=seen.parameters.inactivity_timeout,
    )
    load_per_s = min(seen.stable_load_per_s, 500.0)
    return replace(
        seen,
        workers=workers,
        parameters=parameters,
        stable_load_per_s=load_per_s,
        stable_requests=1_000_000,
        burst_load_per_s=load_per_s,
        held=0.0,
    )


PLAUSIBLE = VIEWS.map(plausible)


def watched(seen: View) -> Decision:
    """The decision after more than a whole window of the same."""
    memory = Memory()
    for second in range(7):
        decision = decide(replace(seen, now_s=seen.now_s + second), memory, QUICK)
        memory = decision.memory
    return decision


@given(VIEWS)
def test_the_limits_are_never_exceeded(seen: View) -> None:
    made = Counter(action.group_id for action in watched(seen).actions if isinstance(action, Create))
    there = Counter(worker.group_id for worker in seen.workers)
    if made:
        assert made.total() + len(seen.workers) <= seen.parameters.max_workers
    for group in seen.groups:
        if made[group.id] and group.max_workers is not None:
            assert made[group.id] + there[group.id] <= group.max_workers


@given(VIEWS)
def test_each_worker_gets_one_action_at_most_and_one_that_fits(seen: View) -> None:
    by_id = {worker.id: worker for worker in seen.workers}
    startable = {group.id for group in seen.groups if group.can_start}
    fits = {
        Start: {Phase.COLD, Phase.FAILED},
        Stop: {Phase.ACTIVE, Phase.STARTING, Phase.FAILED},
        Update: {Phase.ACTIVE, Phase.STARTING, Phase.FAILED, Phase.COLD},
        Destroy: set(Phase) - {Phase.LEAVING},
    }
    given_to: set[int] = set()
    for action in watched(seen).actions:
        if isinstance(action, Create):
            assert action.group_id in startable
            continue
        worker = by_id[action.worker_id]
        assert worker.id not in given_to
        assert worker.group_id in startable
        assert worker.phase in fits[type(action)]
        given_to.add(worker.id)


def after(seen: View) -> tuple[float, Decision]:
    """What stays active, as capacity, and the decision."""
    decision = watched(seen)
    gone = {action.worker_id for action in decision.actions if not isinstance(action, Create | Start)}
    active = [worker for worker in seen.workers if worker.phase is Phase.ACTIVE]
    return sum(worker.capacity_per_s for worker in active if worker.id not in gone), decision


def touched(seen: View, decision: Decision, kind: type[Any]) -> bool:
    """Whether such an action is for an active worker."""
    active = {worker.id for worker in seen.workers if worker.phase is Phase.ACTIVE}
    return any(action.worker_id in active for action in decision.actions if isinstance(action, kind))


@given(PLAUSIBLE)
def test_nothing_is_stopped_that_the_load_needs_at_target_util(seen: View) -> None:
    left_per_s, decision = after(seen)
    idle = not seen.parameters.min_load and seen.idle_s and not seen.held_requests
    if touched(seen, decision, Stop) and not seen.paused and not idle:
        needed_per_s = max(seen.parameters.min_load, seen.stable_load_per_s) / seen.parameters.target_util
        assert left_per_s >= needed_per_s * (1 - 1e-6)
        assert left_per_s > 0


@given(PLAUSIBLE)
def test_no_update_takes_what_the_load_needs(seen: View) -> None:
    left_per_s, decision = after(seen)
    idle = not seen.parameters.min_load and seen.idle_s and not seen.held_requests
    if touched(seen, decision, Update) and not idle and len(seen.workers) > 1:
        assert left_per_s >= max(seen.parameters.min_load, seen.stable_load_per_s) * (1 - 1e-6)
        assert left_per_s > 0


@given(VIEWS)
def test_the_same_view_gives_the_same_decision(seen: View) -> None:
    assert watched(seen) == watched(seen)


@given(VIEWS)
def test_numbers_stay_finite_and_words_short(seen: View) -> None:
    decision = watched(seen)
    assert math.isfinite(decision.active_target_per_s)
    assert math.isfinite(decision.total_target_per_s)
    for text in (decision.why, *(action.reason for action in decision.actions), *decision.groups.values()):
        assert "nan" not in text
        assert "inf" not in text
        assert len(text) < 1500


@settings(max_examples=30)
@given(st.lists(VIEWS, min_size=2, max_size=3), st.lists(st.floats(0, 40), min_size=4, max_size=4))
def test_memory_is_bounded(seen: list[View], gaps_s: list[float]) -> None:
    memory, now_s = Memory(), 0.0
    for step in range(200):
        now_s += gaps_s[step // 50] if step % 50 == 0 else 1.0
        memory = decide(replace(seen[int(now_s) % len(seen)], now_s=now_s), memory).memory
    assert len(memory.active_peaks) <= 32
    assert len(memory.total_peaks) <= 32
    assert len(memory.groups) <= 3


@given(VIEWS)
def test_a_pause_leaves_nothing_running(seen: View) -> None:
    decision = decide(replace(seen, paused=True), Memory())
    startable = {group.id for group in seen.groups if group.can_start}
    ended: set[Any] = {action.worker_id for action in decision.actions if isinstance(action, Stop | Destroy)}
    running = {worker.id for worker in seen.workers if worker.phase in {Phase.ACTIVE, Phase.STARTING, Phase.FAILED}}
    assert {worker.id for worker in seen.workers if worker.id in running and worker.group_id in startable} <= ended
    assert not [action for action in decision.actions if isinstance(action, Create | Start | Update)]
