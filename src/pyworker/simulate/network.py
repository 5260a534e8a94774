"""Messages on their way: some are lost, some come late or twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from pyworker.simulate.timeline import Timeline
from pyworker.tickets import LIFE_S

__all__ = ["Faults", "Network"]


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to messages: chances from 0 to 1, for each report, and for each call of a worker."""

    lost: float = 0.0
    late: float = 0.0
    late_s: float = 3.0  # at most
    twice: float = 0.0
    slow_call: float = 0.0  # a client comes to the worker only when its ticket has expired


class Network:
    """``faults`` may be replaced at any time."""

    def __init__(self, random: Random, timeline: Timeline, faults: Faults, delay_s: float = 0.005) -> None:
        self.faults = faults
        self._random, self._timeline, self._delay_s = random, timeline, delay_s

    def call(self, do: Callable[[], None]) -> None:
        """A client's call: it comes, a little later, or far too late."""
        slow_call = self.faults.slow_call
        is_slow = slow_call > 0 and self._random.random() < slow_call
        self._timeline.after(self._delay_s + (LIFE_S if is_slow else 0.0), do)

    def send(self, do: Callable[[], None]) -> None:
        """A worker's message."""
        faults, chance = self.faults, self._random.random
        if chance() < faults.lost:
            return
        late_s = chance() * faults.late_s if chance() < faults.late else 0.0
        self._timeline.after(self._delay_s + late_s, do)
        if chance() < faults.twice:
            self._timeline.after(self._delay_s + late_s + chance() * faults.late_s, do)
