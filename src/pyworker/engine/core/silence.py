"""Which workers are silent, which of them to call, and which are gone. Pure.

Workers of ours report every second: after three missing reports they are called, and gone when they do not answer. Any
worker is gone that refused a connection, or said nothing for LOST_S. Times in s on the engine's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from pyworker.engine.core.workers import Worker

__all__ = ["SILENT_S", "Probe", "lose_silent", "may_probe", "probed", "to_probe"]

SILENT_S: Final = 3.0
LOST_S: Final = 25.0
PROBE_EVERY_S: Final = 1.0


class Probe(Enum):
    """What came of calling a worker."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


def to_probe(workers: Iterable[Worker], now_s: float) -> list[Worker]:
    """Workers of ours that missed three reports, each at most once a second: call them."""
    return [
        worker for worker in workers if worker.ours and now_s - worker.heard_s >= SILENT_S and may_probe(worker, now_s)
    ]


def may_probe(worker: Worker, now_s: float) -> bool:
    """Whether it is time to call a worker. When it is, the call is taken as made."""
    if worker.gone or not worker.url or now_s - worker.probed_s < PROBE_EVERY_S:
        return False
    worker.probed_s = now_s
    return True


def probed(worker: Worker, probe: Probe, now_s: float) -> bool:
    """Take in what came of a call. True when the worker is gone now: it refused, or is ours and silent."""
    silent = worker.ours and now_s - worker.heard_s >= SILENT_S
    if worker.gone or not (probe is Probe.REFUSED or (silent and probe is Probe.SILENT)):
        return False
    if probe is Probe.REFUSED:
        _lose(worker, "nothing listens at its address any more: it has ended, or its machine is gone")
    else:
        _lose(worker, f"it has said nothing for {now_s - worker.heard_s:.0f} s, and does not answer when it is called")
    return True


def lose_silent(workers: Iterable[Worker], now_s: float) -> list[Worker]:
    """Workers not heard of for LOST_S; they are gone now, until they report again."""
    lost = [worker for worker in workers if not worker.gone and now_s - worker.heard_s >= LOST_S]
    for worker in lost:
        _lose(worker, f"it has said nothing for {now_s - worker.heard_s:.0f} s")
    return lost


def _lose(worker: Worker, why: str) -> None:
    worker.lose()
    worker.error = why
