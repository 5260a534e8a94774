"""Rolling update of a group whose workers are on machines of one's own: which one is told to drain next. Pure.

Its machine starts it anew, with whatever its start script takes as the newest. One goes after the other has come back
ready, and only while those that stay can bear the load; where there is a single one, or the load has needed each for
long enough, requests are held meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyworker.engine.core.scaling.words import per_s, seconds
from pyworker.engine.core.workers import Worker

__all__ = ["Step", "next_step"]

OVERDUE_S: Final = 900.0  # who is not ready again by then needs somebody to look after it


@dataclass(frozen=True, slots=True)
class Step:
    """Whom to tell, if anybody; whether all is done; and why, for people.

    It ``waits`` when the load needs every worker.
    """

    worker: Worker | None
    is_done: bool
    why: str
    waits: bool = False


def next_step(
    members: Sequence[Worker],
    ready: Sequence[Worker],
    last: Worker | None,
    needed_per_s: float,
    now_s: float,
    *,
    left_s: float = math.inf,
) -> Step:
    """The next step for the ``members`` of a group. ``last`` was told in this update, ``ready`` are the endpoint's.

    For ``left_s`` longer it waits for the load to need one worker less.

    Workers that are not ours cannot be told, and those that are gone come back with the newest version anyway.
    """
    if last is not None and last in members and last.told_s is not None:
        return Step(None, is_done=False, why=_awaited(last, now_s - last.told_s))
    old = [worker for worker in members if worker.version != worker.group.version and _can_be_told(worker)]
    if not old:
        return Step(None, is_done=True, why="every worker that can be told to drain was started anew")
    worker = min(old, key=lambda each: (each.is_ready, each.load, each.number))
    left_per_s = sum(other.capacity_per_s for other in ready if other is not worker)
    stay = f"{per_s(left_per_s)} stay, {per_s(needed_per_s)} needed"
    alone = worker.is_ready and len(ready) == 1
    if worker.is_ready and not alone and left_per_s < needed_per_s:
        if left_s > 0:
            return Step(None, is_done=False, why=f"worker {worker.id} is not told to drain yet: {stay}", waits=True)
        return Step(worker, is_done=False, why=f"{stay}; the load has needed every worker for long enough", waits=True)
    return Step(worker, is_done=False, why="requests are held until it is ready again" if alone else stay)


def _can_be_told(worker: Worker) -> bool:
    return worker.ours and not worker.gone and worker.told_s is None


def _awaited(worker: Worker, for_s: float) -> str:
    if for_s < OVERDUE_S:
        return f"worker {worker.id} was told to drain, and is awaited"
    return (
        f"worker {worker.id} was told to drain {seconds(for_s)} ago and is not ready again: see to it on its machine, "
        "or delete it"
    )
