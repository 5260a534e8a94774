"""Many days, each with its own bad luck, in virtual time: what holds on every one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import pytest

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.view import Phase, View
from pyworker.simulate.arrivals import Arrival, Stretch, by_chance, evenly
from pyworker.simulate.machine import Behaviour, Power
from pyworker.simulate.network import Faults
from pyworker.simulate.run import Simulation

SEEDS = range(120)
QUICK = Tempo(stable_s=60.0, settled_s=30.0, cold_s=90.0, given_up_s=90.0, healthy_s=30.0)
ROUGH_S, SETTLED_S, CALM_S, MOST_S = 180.0, 300.0, 900.0, 6000.0
MOST_COST = 60.0


@dataclass
class Day:
    """What is drawn for one seed."""

    parameters: EndpointParameters
    groups: list[tuple[GroupParameters, Behaviour]]
    faults: Faults
    restarts_s: list[float]  # when its engine is killed and started again
    rough: list[Arrival]
    calm: list[Arrival]


def a_day(seed: int) -> Day:
    random = Random(seed)  # noqa: S311
    parameters = EndpointParameters(
        min_load=random.choice([0.0, 0.0, 1.0, 150.0]),
        target_util=random.choice([0.5, 0.8, 0.9, 1.0]),
        cold_mult=random.choice([1.0, 1.5, 3.0]),
        min_cold_load=random.choice([0.0, 0.0, 300.0]),
        cold_workers=random.choice([0, 1, 3]),
        max_workers=random.choice([1, 2, 6, 9]),
        max_queue_time=random.choice([5.0, 30.0]),
        target_queue_time=random.choice([2.0, 10.0]),
        inactivity_timeout=random.choice([None, 0.0, 100.0, -1.0]),
    )
    groups = [
        (
            GroupParameters(name=name, max_workers=random.choice([None, 3, 6]), test_workers=random.choice([1, 3])),
            Behaviour(
                capacity_per_s=random.choice([60.0, 100.0, 250.0]),
                capacity_spread=random.choice([0.0, 0.2]),
                first_start_s=random.choice([5.0, 40.0]),
                restart_s=random.choice([1.0, 8.0]),
                fails_to_start=random.choice([0.0, 0.2, 0.8]),
                crash_every_s=random.choice([0.0, 60.0, 200.0]),
            ),
        )
        for name in "ab"[: random.choice([1, 1, 2])]
    ]
    faults = Faults(random.choice([0.0, 0.3]), random.choice([0.0, 0.3]), 4.0, random.choice([0.0, 0.3]))
    stretches = [Stretch(60.0, random.choice([0.0, 0.5, 4.0, 10.0])) for _ in range(3)]
    rejects_above_s, lies = random.choice([math.inf, math.inf, 3.0]), random.choice([0.0, 0.0, 0.2])
    groups = [
        (parameters, replace(behaviour, rejects_above_s=rejects_above_s, lies=lies)) for parameters, behaviour in groups
    ]
    faults = replace(faults, slow_call=random.choice([0.0, 0.0, 0.05]))
    rough = list(by_chance(random, stretches, MOST_COST / 2, spread=1.0))
    calm = list(evenly([Stretch(CALM_S, random.choice([0.0, 0.2, 2.0]))], MOST_COST / 2))
    restarts_s = [random.uniform(0.0, ROUGH_S) for _ in range(random.choice([0, 0, 1, 3]))]
    return Day(parameters, groups, faults, restarts_s, rough, calm)


def lived(seed: int) -> tuple[Day, Simulation]:
    """Bad luck for a while, then a constant load on machines that do what they should."""
    day = a_day(seed)
    run = Simulation(day.parameters, day.groups, seed=seed, faults=day.faults, tempo=QUICK)
    run.arrive(day.rough)
    for at_s in day.restarts_s:
        run.at(at_s, run.engine.restart)
    run.run(ROUGH_S)
    run.calm()
    run.arrive(day.calm)
    run.run(SETTLED_S)
    while any(done.at_s > run.now_s - 30.0 for done in run.done):
        assert run.now_s < ROUGH_S + CALM_S, f"it does not come to rest: {run.done[-5:]}"
        run.run(30.0)
    while any(not request.served for request in run.requests) and run.now_s < MOST_S:
        run.run(50.0)  # more came than the limits allow to be served meanwhile
    return day, run


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens(seed: int) -> None:
    day, run = lived(seed)

    assert [request for request in run.requests if request.served != 1] == [], "a request is lost, or served twice"
    machines = [*run.engine.machines.by_number.values(), *run.engine.machines.gone]
    served = [idx for machine in machines for idx in machine.served]
    assert len(served) == len(set(served)), "a request is worked on twice"
    assert len({request.idx for request in run.requests}) == len(run.requests), "a request is counted twice"

    assert max(sum(sample.phases.values()) for sample in run.samples) <= day.parameters.max_workers
    slowest_per_s = min(behaviour.capacity_per_s * 0.8 for _, behaviour in day.groups)
    if any(behaviour.lies for _, behaviour in day.groups):
        return  # of those that lie nobody knows how long one would wait
    assert run.engine.longest_wait_s <= day.parameters.max_queue_time + 2 * MOST_COST / slowest_per_s


def test_the_same_seed_is_the_same_day() -> None:
    first, second = lived(3)[1], lived(3)[1]
    assert first.done == second.done
    assert first.samples == second.samples


def test_a_worker_that_refuses_what_would_wait_loses_nothing() -> None:
    groups = [(GroupParameters(), Behaviour(rejects_above_s=1.0))]
    run = Simulation(EndpointParameters(max_workers=1, cold_workers=0), groups, seed=1)
    run.arrive(evenly([Stretch(60.0, 4.0)], MOST_COST / 2))
    run.run(600.0)
    machines = run.engine.machines.by_number.values()
    assert sum(machine.rejected for machine in machines) > 10
    assert [request for request in run.requests if request.served != 1] == []


def test_a_client_that_comes_with_an_expired_ticket_gets_another() -> None:
    groups = [(GroupParameters(), Behaviour())]
    run = Simulation(EndpointParameters(max_workers=2), groups, seed=1, faults=Faults(slow_call=0.5))
    run.arrive(evenly([Stretch(60.0, 1.0)], MOST_COST / 2))
    run.run(1500.0)
    assert max(request.sent for request in run.requests) > 2
    assert [request for request in run.requests if request.served != 1] == []


def test_a_report_from_before_a_restart_gives_a_starting_worker_no_request() -> None:
    refused = 0
    for seed in range(3):
        groups = [(GroupParameters(), Behaviour(restart_s=20.0, crash_every_s=30.0))]
        faults = Faults(late=0.9, late_s=15.0)
        run = Simulation(EndpointParameters(max_workers=3), groups, seed=seed, faults=faults, tempo=QUICK)
        run.arrive(evenly([Stretch(200.0, 4.0)], MOST_COST / 2))
        run.engine.decided = lambda view, _, run=run: _require_none_too_early(run, view)
        run.run(300.0)
        refused += run.engine.refused
    assert refused > 10


def _require_none_too_early(run: Simulation, view: View) -> None:
    """No worker that loads is taken for one that is ready."""
    for worker in view.workers:
        machine = run.engine.machines.by_number[worker.id]
        assert not (worker.phase is Phase.ACTIVE and machine.power is Power.LOADING)
