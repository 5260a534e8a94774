"""Usual days in virtual time: from zero and back, a burst, an engine that starts anew, a trace."""

from __future__ import annotations

from random import Random

import pytest

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
from pyworker.engine.core.scaling.view import Destroy, Phase, Stop
from pyworker.errors import BadRequest
from pyworker.simulate.arrivals import Arrival, Stretch, by_chance, evenly, from_trace
from pyworker.simulate.machine import Behaviour
from pyworker.simulate.run import Simulation


def simulation(behaviour: Behaviour | None = None, **parameters: float) -> Simulation:
    usual = {"min_load": 0.0, "cold_workers": 1, "cold_mult": 1.0, "max_workers": 10} | parameters
    return Simulation(EndpointParameters(**usual), [(GroupParameters(), behaviour or Behaviour())], seed=1)  # type: ignore[arg-type]


def all_served(run: Simulation) -> bool:
    return all(request.served == 1 for request in run.requests)


def test_from_zero_and_back() -> None:
    run = simulation(Behaviour(restart_s=8.0, start_spread=0.0))
    run.arrive([Arrival(100.0, 10.0)])
    run.run(600.0)
    assert run.samples[99].phases == {Phase.COLD: 1} or run.samples[99].phases[Phase.ACTIVE] == 1
    assert all_served(run)
    assert run.samples[-1].phases == {Phase.COLD: 1}
    run.arrive([Arrival(0.0, 10.0)])
    run.run(60.0)
    request = run.requests[-1]
    assert request.served == 1
    assert request.placed_s is not None
    assert request.placed_s - request.came_s < 8.0 + 1.0 + 1.1, "its start, a decision and a report"


def test_a_burst_is_noticed_before_the_stable_window_tells_of_it() -> None:
    run = simulation(Behaviour(restart_s=5.0), min_load=50.0, cold_workers=6)
    run.run(400.0)
    run.arrive(evenly([Stretch(60.0, 40.0)], 10.0))
    run.run(30.0)
    assert run.samples[-1].load_per_s < 250
    assert run.samples[-1].phases[Phase.ACTIVE] >= 4
    run.run(60.0)
    assert all_served(run)


def test_an_engine_that_starts_anew_stops_nothing_that_is_needed() -> None:
    run = simulation()
    run.arrive(evenly([Stretch(900.0, 30.0)], 10.0))
    run.run(400.0)
    active = run.samples[-1].phases[Phase.ACTIVE]
    run.engine.restart()
    run.run(300.0)
    assert run.samples[-1].phases[Phase.ACTIVE] == active
    since = [done.action for done in run.done if done.at_s >= 400]
    assert not [action for action in since if isinstance(action, Stop)]
    assert not [action for action in since if isinstance(action, Destroy)]


def test_a_worker_that_is_killed_is_replaced_and_its_requests_are_served() -> None:
    run = simulation()
    run.arrive(evenly([Stretch(500.0, 20.0)], 10.0))
    run.run(300.0)
    victim = next(machine for machine in run.engine.machines.by_number.values() if machine.status().state == "ready")
    victim.kill()
    run.run(300.0)
    assert all_served(run)


def test_a_trace_is_served() -> None:
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    rows += [f"2023-11-16 18:17:{number % 60:02}.9799600,{100 + number},10" for number in range(60)]
    run = simulation(Behaviour(capacity_per_s=500.0))
    run.arrive(from_trace(rows))
    run.run(200.0)
    assert len(run.requests) == 60
    assert run.requests[0].cost == 110
    assert all_served(run)


def test_a_row_that_is_none_is_named() -> None:
    with pytest.raises(BadRequest, match="row 2 of the trace"):
        list(from_trace(["TIMESTAMP,a,b", "yesterday,1,2"]))


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    stretches = [Stretch(1000.0, 5.0), Stretch(100.0, 0.0), Stretch(100.0, 10.0)]
    by_rule, chance = list(evenly(stretches, 1.0)), list(by_chance(Random(1), stretches, 1.0))  # noqa: S311
    assert len(by_rule) == 6000
    assert len(chance) == pytest.approx(6000, rel=0.05)
    for arrivals in (by_rule, chance):
        assert arrivals == sorted(arrivals)
        assert not [arrival for arrival in arrivals if 1000.0 < arrival.at_s < 1100.0]
