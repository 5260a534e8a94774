"""Views for tests of scaling: short to write, easy to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pyworker.engine.core.parameters import EndpointParameters
from pyworker.engine.core.scaling.decision import Decision, decide
from pyworker.engine.core.scaling.memory import Memory, Tempo
from pyworker.engine.core.scaling.view import Action, Create, GroupView, Phase, View, WorkerView

GROUP = GroupView(1, "a")
LONG_AGO_S = -10_000.0


def workers(phase: Phase, count: int = 1, *, first: int = 1, **fields: Any) -> list[WorkerView]:
    """So many alike: measured at 100/s, and in their phase for long."""
    usual: dict[str, Any] = {
        "group_id": 1,
        "since_s": LONG_AGO_S,
        "capacity_per_s": 100.0,
        "was_ready": phase is not Phase.STARTING,
        "failures": int(phase is Phase.FAILED),
    }
    return [WorkerView(id=first + number, phase=phase, **(usual | fields)) for number in range(count)]


def active(count: int = 1, **fields: Any) -> list[WorkerView]:
    """Ready workers, numbered from 1."""
    return workers(Phase.ACTIVE, count, **fields)


def cold(count: int = 1, *, first: int = 101, **fields: Any) -> list[WorkerView]:
    """Stopped workers, numbered from 101."""
    return workers(Phase.COLD, count, first=first, **fields)


def failed(count: int = 1, *, first: int = 201, **fields: Any) -> list[WorkerView]:
    """Failed workers, numbered from 201."""
    return workers(Phase.FAILED, count, first=first, **fields)


def starting(count: int = 1, *, first: int = 301, **fields: Any) -> list[WorkerView]:
    """Workers on their way, numbered from 301."""
    return workers(Phase.STARTING, count, first=first, **({"since_s": 0.0} | fields))


def view(
    *members: Iterable[WorkerView],
    load: float = 0.0,
    burst: float | None = None,
    now_s: float = 0.0,
    groups: Sequence[GroupView] = (GROUP,),
    held: float = 0.0,
    held_requests: int | None = None,
    idle_s: float | None = None,
    paused: bool = False,
    **parameters: Any,
) -> View:
    """One endpoint without a reserve, unless ``parameters`` say otherwise."""
    usual: dict[str, Any] = {"min_load": 0.0, "cold_mult": 1.0, "cold_workers": 0}
    return View(
        now_s=now_s,
        parameters=EndpointParameters(**(usual | parameters)),
        groups=groups,
        workers=[worker for some in members for worker in some],
        stable_load_per_s=load,
        stable_requests=1_000_000 if load else 0,
        burst_load_per_s=load if burst is None else burst,
        held=held,
        held_requests=int(held > 0) if held_requests is None else held_requests,
        idle_s=(0.0 if load or held else 1000.0) if idle_s is None else idle_s,
        paused=paused,
    )


def watch(
    seen: View, seconds: float, memory: Memory | None = None, tempo: Tempo | None = None, step_s: float = 5.0
) -> Memory:
    """The memory after this view was there for a while; what was decided was not done."""
    memory = memory or Memory()
    for step in range(int(seconds / step_s), -1, -1):
        memory = decide(replace(seen, now_s=seen.now_s - step * step_s), memory, tempo).memory
    return memory


def settled(seen: View, memory: Memory | None = None, tempo: Tempo | None = None) -> Decision:
    """The decision when a view has been there for as long as any window."""
    return decide(seen, watch(seen, 700.0, memory, tempo), tempo)


def short(actions: Iterable[Action]) -> dict[str, Any]:
    """Actions in short: which worker by verb, or how many are made in which group."""
    found: dict[str, Any] = {}
    made = Counter(action.group_id for action in actions if isinstance(action, Create))
    for action in actions:
        if not isinstance(action, Create):
            found.setdefault(type(action).__name__.lower(), []).append(action.worker_id)
    return found | ({"create": dict(made)} if made else {})
