"""Every state, every event, and what comes of it."""

from __future__ import annotations

import pytest

from pyworker.errors import NotReady
from pyworker.worker.core.readiness import ErrorSource, Event, Readiness, State

# How each state is reached, and where each event leads from there; "." is: nothing changes.
EVENTS = (
    Event.MODEL_LOADED,
    Event.ENTERED,
    Event.MODEL_ANSWERS,
    Event.SCORED,
    Event.ERROR,
    Event.RECOVERED,
    Event.DRAIN,
)
TABLE = """
starting     loaded   loaded   .            .      error  .       draining
loaded       .        .        benchmarking .      error  .       draining
benchmarking .        .        .            ready  error  .       draining
ready        .        .        .            .      error  .       draining
error        loaded   loaded   .            .      .      loaded  draining
draining     .        .        .            .      .      .       .
"""
WAY_TO = {
    State.STARTING: [],
    State.LOADED: [Event.MODEL_LOADED],
    State.BENCHMARKING: [Event.MODEL_LOADED, Event.MODEL_ANSWERS],
    State.READY: [Event.MODEL_LOADED, Event.MODEL_ANSWERS, Event.SCORED],
    State.ERRORED: [Event.ERROR],
    State.DRAINING: [Event.DRAIN],
}


def rows() -> list[tuple[State, Event, State]]:
    lines = [line.split() for line in TABLE.split("\n") if line]
    return [
        (State(state), event, State(state if to == "." else to))
        for state, *cells in lines
        for event, to in zip(EVENTS, cells, strict=True)
    ]


def at(state: State) -> Readiness:
    readiness = Readiness(100.0)
    for time_s, event in enumerate(WAY_TO[state], start=101):
        assert readiness.on(event, float(time_s), error="broken" if event is Event.ERROR else "")
    assert readiness.state is state
    return readiness


def test_the_table_is_complete() -> None:
    assert {(state, event) for state, event, _ in rows()} == {(state, event) for state in State for event in Event}


@pytest.mark.parametrize(("state", "event", "then"), rows())
def test_every_event_in_every_state(state: State, event: Event, then: State) -> None:
    readiness = at(state)
    since_s = readiness.since_s
    changed = readiness.on(event, 200.0, error="broken" if event is Event.ERROR else "")
    assert readiness.state is then
    assert changed == (then is not state)
    assert readiness.since_s == (200.0 if changed else since_s)


@pytest.mark.parametrize("state", State)
def test_only_a_ready_worker_takes_requests(state: State) -> None:
    readiness = at(state)
    assert readiness.is_ready == (state is State.READY)
    if readiness.is_ready:
        readiness.require_ready()
        return
    with pytest.raises(NotReady, match=f"not ready: {state.value}") as refused:
        readiness.require_ready()
    assert refused.value.status == 503
    assert int(refused.value.headers()["Retry-After"]) >= 1


def test_an_error_is_kept_with_its_source_until_it_ends() -> None:
    readiness = at(State.READY)
    readiness.on(Event.ERROR, 200.0, error="no more memory", source=ErrorSource.HEALTH)
    assert (readiness.error, readiness.error_source, readiness.errors) == ("no more memory", ErrorSource.HEALTH, 1)
    readiness.on(Event.RECOVERED, 201.0)
    assert (readiness.error, readiness.error_source, readiness.errors) == ("", None, 1)


def test_the_same_error_again_is_no_news_and_another_one_is() -> None:
    readiness = at(State.ERRORED)
    assert not readiness.on(Event.ERROR, 200.0, error="broken")
    assert readiness.errors == 1
    assert readiness.on(Event.ERROR, 201.0, error="worse")
    assert (readiness.error, readiness.errors) == ("worse", 2)


def test_a_worker_that_recovers_is_benchmarked_before_it_is_ready_again() -> None:
    readiness = at(State.READY)
    readiness.on(Event.ERROR, 200.0, error="broken")
    states: list[State] = []
    for event in (Event.RECOVERED, Event.MODEL_ANSWERS, Event.SCORED):
        readiness.on(event, 201.0)
        states.append(readiness.state)
    assert states == [State.LOADED, State.BENCHMARKING, State.READY]


def test_an_error_during_the_benchmark_keeps_it_from_being_ready() -> None:
    readiness = at(State.BENCHMARKING)
    readiness.on(Event.ERROR, 200.0, error="broken")
    assert not readiness.on(Event.SCORED, 201.0)
    assert readiness.state is State.ERRORED


def test_draining_ends_an_error_and_is_not_ended_by_one() -> None:
    readiness = at(State.ERRORED)
    readiness.on(Event.DRAIN, 200.0)
    assert readiness.error == ""
    assert not readiness.on(Event.ERROR, 201.0, error="late")
    assert readiness.state is State.DRAINING


def test_the_load_time_is_that_to_the_first_ready() -> None:
    readiness = at(State.BENCHMARKING)
    assert readiness.load_time_s == 0.0
    readiness.on(Event.SCORED, 142.0)
    assert readiness.load_time_s == 42.0
    for time_s, event in enumerate((Event.ERROR, *WAY_TO[State.READY]), start=200):
        readiness.on(event, float(time_s))
    assert readiness.is_ready
    assert readiness.load_time_s == 42.0


def test_what_is_waited_for_ends_with_the_state() -> None:
    readiness = at(State.STARTING)
    readiness.waiting_for = "a line in model.log"
    readiness.on(Event.MODEL_LOADED, 200.0)
    assert readiness.waiting_for == ""


@pytest.mark.parametrize("event", [Event.MODEL_LOADED, Event.RECOVERED])
def test_a_lifecycle_is_waited_for_whatever_the_log_says(event: Event) -> None:
    readiness = Readiness(100.0, has_lifecycle=True)
    assert not readiness.on(event, 101.0)
    assert readiness.on(Event.ERROR, 102.0, error="the log's")
    assert not readiness.on(event, 103.0)
    assert readiness.on(Event.ENTERED, 104.0)
    assert readiness.state is State.LOADED
    assert readiness.on(Event.ERROR, 105.0, error="the log's")
    assert readiness.on(event, 106.0)


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.DRAIN])
def test_only_a_restart_ends_the_failure_of_a_lifecycle(event: Event) -> None:
    readiness = Readiness(100.0, has_lifecycle=True)
    assert readiness.on(Event.ERROR, 101.0, error="lifecycle: x", source=ErrorSource.LIFECYCLE)
    assert not readiness.on(event, 102.0, error="the log's")
    assert (readiness.state, readiness.error) == (State.ERRORED, "lifecycle: x")
    assert readiness.on(Event.DRAIN, 103.0)
