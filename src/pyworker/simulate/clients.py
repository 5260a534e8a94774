"""Clients in virtual time: each asks the engine, calls the worker, and asks again for the same request until it is
served.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from pyworker.simulate.arrivals import Arrival
from pyworker.simulate.engine import SimulatedEngine
from pyworker.simulate.network import Network
from pyworker.simulate.timeline import Timeline
from pyworker.wire import RouteAnswer

__all__ = ["Clients", "Request"]

ASK_AGAIN_S = 1.0  # on the mean


@dataclass(slots=True, eq=False)
class Request:
    """What became of one request. ``idx`` is 0 until the engine has numbered it; ``served`` counts its answers."""

    came_s: float
    cost: float
    idx: int = 0
    placed_s: float | None = None  # first given to a worker
    served_s: float | None = None
    served: int = 0
    sent: int = 0  # calls to workers, refused ones too


class Clients:
    """All requests that came, in order."""

    def __init__(self, engine: SimulatedEngine, random: Random, timeline: Timeline, network: Network) -> None:
        self.requests: list[Request] = []
        self._engine, self._random, self._timeline, self._network = engine, random, timeline, network
        engine.cut_off = self._cut_off

    def come(self, arrival: Arrival) -> None:
        """A request comes now."""
        request = Request(self._timeline.now_s, arrival.cost)
        self.requests.append(request)
        self._ask(request)

    def _ask(self, request: Request) -> None:
        request.idx = self._engine.route(request.cost, request.idx, lambda answer: self._call(request, answer))

    def _call(self, request: Request, answer: RouteAnswer) -> None:
        """Call the worker that the engine named."""
        request.placed_s = self._timeline.now_s if request.placed_s is None else request.placed_s
        request.sent += 1
        machine = self._engine.machines.at(answer.url)
        accepted = machine is not None and machine.accept(
            request.idx, request.cost, float(answer.signature), lambda well: self._settle(request, well=well)
        )
        if not accepted:
            self._ask_later(request)

    def _settle(self, request: Request, *, well: bool) -> None:
        if well:
            request.served += 1
            request.served_s = self._timeline.now_s
        else:
            self._ask_later(request)

    def _cut_off(self, request_idx: int) -> None:
        """The engine has ended while it held this request."""
        for request in self.requests:
            if request.idx == request_idx:
                self._ask_later(request)

    def _ask_later(self, request: Request) -> None:
        self._timeline.after(ASK_AGAIN_S * self._random.uniform(0.5, 1.5), lambda: self._ask(request))
