"""A run: requests come, an engine scales, and everything that happens is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters
from pyworker.engine.core.scaling.decision import Decision
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.view import Action, Phase, View
from pyworker.simulate.arrivals import Arrival
from pyworker.simulate.clients import Clients, Request
from pyworker.simulate.engine import SimulatedEngine
from pyworker.simulate.machine import Behaviour
from pyworker.simulate.network import Faults, Network
from pyworker.simulate.timeline import Timeline

__all__ = ["Done", "Sample", "Simulation"]

BEGIN_S = 1000.0


class Sample(NamedTuple):
    """What was seen and decided in one second. Capacity and loads in workload/s."""

    at_s: float
    load_per_s: float  # over the stable window
    burst_per_s: float
    target_per_s: float
    active_per_s: float  # of ready workers
    phases: Counter[Phase]
    held: float
    queue_s: float  # what is held and in flight, in seconds of active capacity; 0 where there is none
    why: str


class Done(NamedTuple):
    """An action, and when."""

    at_s: float
    action: Action


@dataclass(frozen=True, slots=True)
class _Parts:
    engine: SimulatedEngine
    clients: Clients
    network: Network
    timeline: Timeline


class Simulation:
    """One endpoint in virtual time, from an empty engine on. The same arguments give the same run."""

    def __init__(
        self,
        parameters: EndpointParameters,
        groups: Sequence[tuple[GroupParameters, Behaviour]],
        *,
        seed: int = 0,
        faults: Faults | None = None,
        tempo: Tempo | None = None,
    ) -> None:
        random = Random(seed)  # noqa: S311 - a simulation is to be the same again
        timeline = Timeline(BEGIN_S)
        network = Network(random, timeline, faults or Faults())
        engine = SimulatedEngine(parameters, groups, random, timeline, network, tempo or Tempo())
        clients = Clients(engine, random, timeline, network)
        self.samples: list[Sample] = []
        self.done: list[Done] = []
        self._parts = _Parts(engine, clients, network, timeline)
        engine.decided = self._note

    @property
    def engine(self) -> SimulatedEngine:
        """The engine, to change something in it while it runs."""
        return self._parts.engine

    @property
    def requests(self) -> list[Request]:
        """Every request that came."""
        return self._parts.clients.requests

    @property
    def now_s(self) -> float:
        """Virtual time since the begin."""
        return self._parts.timeline.now_s - BEGIN_S

    def arrive(self, arrivals: Iterable[Arrival]) -> None:
        """These requests will come; their times count from now."""
        coming = iter(arrivals)
        begin_s = self._parts.timeline.now_s

        def next_one() -> None:
            arrival = next(coming, None)
            if arrival is not None:
                self._parts.timeline.after(begin_s + arrival.at_s - self._parts.timeline.now_s, lambda: come(arrival))

        def come(arrival: Arrival) -> None:
            self._parts.clients.come(arrival)
            next_one()

        next_one()

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        """Have something happen at a time since the begin."""
        self._parts.timeline.after(at_s - self.now_s, do)

    def run(self, time_s: float) -> None:
        """Let so much time pass."""
        self._parts.timeline.run(self._parts.timeline.now_s + time_s)

    def calm(self) -> None:
        """From now on nothing breaks, and every message arrives."""
        self._parts.network.faults = Faults()
        self.engine.machines.calm()

    def _note(self, view: View, decision: Decision) -> None:
        at_s = view.now_s - BEGIN_S
        active = [worker for worker in view.workers if worker.phase is Phase.ACTIVE]
        active_per_s = sum(worker.capacity_per_s for worker in active)
        queue = view.held + sum(worker.load for worker in active)
        self.samples.append(
            Sample(
                at_s=at_s,
                load_per_s=view.stable_load_per_s,
                burst_per_s=view.burst_load_per_s,
                target_per_s=decision.active_target_per_s,
                active_per_s=active_per_s,
                phases=Counter(worker.phase for worker in view.workers),
                held=view.held,
                queue_s=queue / active_per_s if active_per_s else 0.0,
                why=decision.why,
            )
        )
        self.done += [Done(at_s, action) for action in decision.actions]
