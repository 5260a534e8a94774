"""Rolling updates in virtual time: no request is lost, and the load is served all the while."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.view import Phase
from pyworker.simulate.arrivals import Stretch, by_chance, evenly
from pyworker.simulate.machine import Behaviour
from pyworker.simulate.network import Faults
from pyworker.simulate.run import Sample, Simulation

TEMPO = Tempo(settled_s=30.0, cold_s=90.0, start_limit_s=200.0)
UPDATE_S, LAST_S = 200.0, 1000.0
COST = 20.0


def updated(seed: int, *, max_workers: int = 8, bad_versions: frozenset[int] = frozenset()) -> Simulation:
    """A load by chance, and an update in the middle of it."""
    random = Random(seed)  # noqa: S311
    parameters = EndpointParameters(
        min_load=50.0,
        target_util=0.8,
        cold_mult=random.choice([1.0, 2.0]),
        cold_workers=random.choice([0, 2]),
        max_workers=max_workers,
    )
    behaviour = Behaviour(
        first_start_s=random.choice([10.0, 40.0]),
        restart_s=random.choice([2.0, 20.0]),
        capacity_spread=random.choice([0.0, 0.1]),
        bad_versions=bad_versions,
    )
    faults = Faults(lost=0.1, late=0.1, late_s=2.0, twice=0.1)
    run = Simulation(parameters, [(GroupParameters(), behaviour)], seed=seed, faults=faults, tempo=TEMPO)
    rate_per_s = random.choice([20.0, 60.0, 250.0]) / COST
    run.arrive(by_chance(random, [Stretch(LAST_S, rate_per_s)], COST, spread=0.5))
    run.run(UPDATE_S)
    run.engine.update()
    while run.engine.registry.group(1).before is not None and run.now_s < LAST_S - 100:
        run.run(10.0)
    return run


def finish(run: Simulation) -> None:
    run.run(LAST_S + 100 - run.now_s)
    assert [request for request in run.requests if request.served != 1] == []


def versions(run: Simulation) -> set[int]:
    return {machine.version for machine in run.engine.machines.by_number.values()}


def during(run: Simulation, end_s: float) -> Sequence[Sample]:
    return [sample for sample in run.samples if UPDATE_S <= sample.at_s <= end_s]


@pytest.mark.parametrize("seed", range(20))
def test_after_an_update_all_have_the_new_version_and_the_load_was_served(seed: int) -> None:
    run = updated(seed)
    end_s = run.now_s
    assert run.engine.registry.group(1).before is None, run.samples[-1].why
    assert versions(run) == {2}
    assert all(sample.active_per_s >= min(sample.load_per_s, 250.0) * 0.95 for sample in during(run, end_s))
    assert max(sum(sample.phases.values()) for sample in run.samples) <= 8
    finish(run)


@pytest.mark.parametrize("seed", range(10))
def test_a_bad_version_is_rolled_back_and_the_load_was_served(seed: int) -> None:
    run = updated(seed, bad_versions=frozenset({2}))
    end_s = run.now_s
    group = run.engine.registry.group(1)
    assert (group.version, group.before) == (1, None)
    run.run(60.0)
    assert versions(run) == {1}
    assert all(sample.active_per_s >= min(sample.load_per_s, 250.0) * 0.95 for sample in during(run, end_s))
    finish(run)


@pytest.mark.parametrize("bad", [False, True])
def test_a_load_that_needs_all_that_there_may_be_does_not_keep_an_update_from_ending(bad: bool) -> None:
    parameters = EndpointParameters(min_load=50.0, cold_mult=1.0, cold_workers=0, max_workers=3)
    behaviour = Behaviour(first_start_s=10.0, bad_versions=frozenset({2} if bad else {}))
    run = Simulation(parameters, [(GroupParameters(), behaviour)], seed=1, tempo=TEMPO)
    run.arrive(evenly([Stretch(LAST_S, 320.0 / COST)], COST))
    run.run(UPDATE_S)
    assert run.samples[-1].phases == {Phase.ACTIVE: 3}
    run.engine.update()
    run.run(TEMPO.patience_s - 5.0)
    assert versions(run) == {1}
    run.run(400.0)
    assert run.engine.registry.group(1).before is None, run.samples[-1].why
    assert versions(run) == {1 if bad else 2}
    assert all(sample.phases[Phase.ACTIVE] >= 2 for sample in run.samples if sample.at_s > UPDATE_S)
    assert max(sum(sample.phases.values()) for sample in run.samples) == 3
    run.run(LAST_S)
    finish(run)


@pytest.mark.parametrize("bad", [False, True])
def test_with_one_worker_and_no_room_requests_wait_and_none_is_lost(bad: bool) -> None:
    run = updated(0, max_workers=1, bad_versions=frozenset({2} if bad else {}))
    run.run(60.0)
    assert versions(run) == {1 if bad else 2}
    finish(run)
    reasons = " ".join(done.action.reason for done in run.done)
    assert "there is one worker and no room for another" in reasons
