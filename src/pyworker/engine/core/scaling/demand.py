"""How much capacity an endpoint wants, active and in all. Pure.

    steady = max(min_load, arrivals over the stable window) / target_util
             but not more than one worker for each of these requests, beyond min_load
    fast   = max(arrivals over the burst window / target_util, while there is a burst;
                 what is held and in flight / target_queue_time)
             but not more than one worker for each request that is there
    active target = max(steady, fast)
    total target  = max(cold_mult * steady, min_cold_load, active target)

A reserve is not made for a burst: it would be loaded when the burst is over; nor for arrivals that have not been
watched for a whole window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pyworker.engine.core.scaling.fleet import Fleet
from pyworker.engine.core.scaling.memory import Memory, Tempo, highest, with_peak
from pyworker.engine.core.scaling.view import Phase, View
from pyworker.engine.core.scaling.words import per_s, seconds

__all__ = ["Demand", "demand"]

BURST_AT: Final = 2.0  # times what active workers can do
SPARE: Final = 1.1  # what is kept active could serve a tenth more: no stop is undone by the next fluctuation
_MOST: Final = 1e15  # of any target, so that sums stay finite


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted now, and what of that which is there must be kept. Workload/s, but for the counts of workers."""

    active_per_s: float = 0.0
    total_per_s: float = 0.0
    least_active: int = 0
    loaded_workers: int = 0  # with the model loaded, active or cold
    keep_active_per_s: float = 0.0
    keep_total_per_s: float = 0.0
    keep_active: int = 0
    target_util: float = 1.0
    words: str = ""

    @property
    def served_per_s(self) -> float:
        """What ready workers must be able to do at any time: what is kept, without target_util's reserve."""
        return self.keep_active_per_s * self.target_util


def demand(fleet: Fleet, memory: Memory, tempo: Tempo) -> tuple[Demand, Memory]:
    """The demand of a view, and the memory with it taken in."""
    view, parameters = fleet.view, fleet.view.parameters
    if view.paused:
        return Demand(words="paused"), _forget_load(memory)
    if _is_idle(view, tempo):
        words = f"no request for {seconds(view.idle_s)}: none needs to be active"
        total_per_s = parameters.min_cold_load
        memory = _remember(_forget_load(memory), view.now_s, 0.0, total_per_s, tempo)
        keep_total_per_s = highest(memory.total_peaks)
        loaded = parameters.cold_workers
        return Demand(0.0, total_per_s, 0, loaded, 0.0, keep_total_per_s, 0, parameters.target_util, words), memory
    memory = _notice_burst(fleet, memory, tempo)
    return _busy(fleet, memory, tempo)


def _busy(fleet: Fleet, memory: Memory, tempo: Tempo) -> tuple[Demand, Memory]:
    view, parameters = fleet.view, fleet.view.parameters
    util = parameters.target_util
    steady_per_s = _steady(fleet, view.stable_load_per_s)
    fast_per_s, fast_words = _fast(fleet, memory)
    active_per_s = max(steady_per_s, fast_per_s)
    total_per_s = max(_with_reserve(view, steady_per_s), parameters.min_cold_load, active_per_s)
    spared_per_s = _steady(fleet, SPARE * view.stable_load_per_s)
    keep_per_s = max(spared_per_s, fast_per_s)
    keep_total_per_s = max(_with_reserve(view, spared_per_s), parameters.min_cold_load, keep_per_s)
    memory = _remember(memory, view.now_s, keep_per_s, keep_total_per_s, tempo)
    return Demand(
        active_per_s=active_per_s,
        total_per_s=total_per_s,
        least_active=int(view.held_requests > 0 or (parameters.inactivity_timeout or 0) < 0),
        loaded_workers=parameters.cold_workers,
        keep_active_per_s=highest(memory.active_peaks),
        keep_total_per_s=highest(memory.total_peaks),
        keep_active=1,
        target_util=util,
        words=fast_words if fast_per_s > steady_per_s else _steady_words(view, steady_per_s),
    ), memory


def _steady(fleet: Fleet, load_per_s: float) -> float:
    """What a load wants, at ``target_util``; arrivals at most a worker for each request."""
    view, parameters = fleet.view, fleet.view.parameters
    capacity_per_s = fleet.best_per_s
    most_per_s = view.stable_requests * capacity_per_s if capacity_per_s > 0 else _MOST
    arrivals_per_s = min(load_per_s / parameters.target_util, most_per_s)
    return min(max(parameters.min_load / parameters.target_util, arrivals_per_s), _MOST)


def _with_reserve(view: View, steady_per_s: float) -> float:
    """Active and cold, for a steady load."""
    parameters = view.parameters
    reserved_per_s = steady_per_s if view.watched else parameters.min_load / parameters.target_util
    return min(max(parameters.cold_mult * reserved_per_s, steady_per_s), _MOST)


def _steady_words(view: View, steady_per_s: float) -> str:
    parameters = view.parameters
    load_per_s = max(parameters.min_load, view.stable_load_per_s)
    name = "load" if view.stable_load_per_s >= parameters.min_load else "min_load"
    return f"{name} {per_s(load_per_s)} at target_util {parameters.target_util:g} wants {per_s(steady_per_s)}"


def _is_idle(view: View, tempo: Tempo) -> bool:
    """Whether no worker needs to be active."""
    gate_s = view.parameters.inactivity_timeout or 0.0
    active = (worker for worker in view.workers if worker.phase is Phase.ACTIVE)
    return (
        view.parameters.min_load <= 0
        and gate_s >= 0
        and view.idle_s >= max(tempo.stable_s, gate_s)
        and view.held <= 0
        and view.held_requests <= 0
        and not any(worker.busy > 0 or worker.load > 0 for worker in active)
    )


# --- bursts and queues ---


def _fast(fleet: Fleet, memory: Memory) -> tuple[float, str]:
    """What a burst or the queue wants, and why."""
    view, parameters = fleet.view, fleet.view.parameters
    active = fleet.by_phase[Phase.ACTIVE]
    queue = view.held + sum(worker.load for worker in active)
    # what is held has found every wait above max_queue_time
    queue_time_s = min(parameters.target_queue_time, parameters.max_queue_time)
    queue_per_s = queue / queue_time_s
    burst_per_s = memory.burst_load_per_s / parameters.target_util
    requests = view.held_requests + sum(worker.busy or worker.load > 0 for worker in active)
    capacity_per_s = fleet.best_per_s
    most_per_s = min(requests * capacity_per_s, _MOST) if capacity_per_s > 0 else _MOST
    if burst_per_s >= queue_per_s:
        words = f"burst of {per_s(memory.burst_load_per_s)} at target_util {parameters.target_util:g}"
    else:
        words = f"queue of {queue:.4g} to be done in {seconds(queue_time_s)}"
    fast_per_s = max(burst_per_s, queue_per_s)
    if fast_per_s > most_per_s:
        fast_per_s, words = most_per_s, f"{words}, at most a worker for each of {requests} requests,"
    return fast_per_s, f"{words} wants {per_s(fast_per_s)}"


def _notice_burst(fleet: Fleet, memory: Memory, tempo: Tempo) -> Memory:
    """A burst begins, goes on or ends."""
    view = fleet.view
    ready_per_s = fleet.sum_per_s(fleet.by_phase[Phase.ACTIVE])
    if 0 < BURST_AT * ready_per_s <= view.burst_load_per_s:
        highest_per_s = max(memory.burst_load_per_s, view.burst_load_per_s)
        return replace(memory, burst_s=view.now_s, burst_load_per_s=highest_per_s)
    if memory.burst_s is not None and view.now_s - memory.burst_s >= tempo.stable_s:
        return replace(memory, burst_s=None, burst_load_per_s=0.0)
    return memory


# --- what is remembered ---


def _forget_load(memory: Memory) -> Memory:
    return replace(memory, active_peaks=(), burst_s=None, burst_load_per_s=0.0)


def _remember(memory: Memory, now_s: float, active_per_s: float, total_per_s: float, tempo: Tempo) -> Memory:
    return replace(
        memory,
        active_peaks=with_peak(memory.active_peaks, active_per_s, now_s, tempo.stable_s),
        total_peaks=with_peak(memory.total_peaks, total_per_s, now_s, tempo.cold_s),
    )
