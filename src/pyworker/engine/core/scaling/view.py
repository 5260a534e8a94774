"""What a scaling decision is made from, and what it can say: a snapshot of one endpoint, and actions. Pure.

Workload is in the workers' counted unit, per second where the name says so; times in s on the engine's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pyworker.engine.core.parameters import EndpointParameters

__all__ = [
    "Action",
    "Create",
    "Destroy",
    "GroupView",
    "Phase",
    "Start",
    "Stop",
    "Update",
    "View",
    "WorkerView",
]


class Phase(Enum):
    """Where a worker is in its life, as scaling sees it."""

    STARTING = "starting"  # not ready yet: it waits, loads, is measured; or drains in an update and will start again
    ACTIVE = "active"  # ready: takes requests
    STOPPING = "stopping"  # told to drain; will be cold
    COLD = "cold"  # stopped, keeps its disk: ready again sooner than a new one
    FAILED = "failed"  # reports an error, ended by itself, or could not be started
    LEAVING = "leaving"  # being destroyed


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker. ``capacity_per_s`` is 0.0 until it was measured.

    ``failures`` counts in a row: it begins anew once the worker was ready for ``Tempo.healthy_s``, or is updated.
    """

    id: int
    group_id: int
    phase: Phase
    since_s: float  # when this phase began
    capacity_per_s: float = 0.0
    load: float = 0.0  # workload in flight, what was sent to it and is not reported yet included
    busy: int = 0  # requests, waiting or working, and sessions; 0: it can be stopped without waiting
    was_ready: bool = False  # its model has been loaded once
    failures: int = 0
    version: int = 1  # of its group's launch, with which it runs or will start
    reason: str = ""  # why it failed


@dataclass(frozen=True, slots=True)
class GroupView:
    """One workergroup. Where ``can_start`` is False its workers come and go by themselves (provider external)."""

    id: int
    name: str
    can_start: bool = True
    max_workers: int | None = None
    test_workers: int = 3
    version: int = 1  # the newest; above a worker's own while an update is to be rolled out
    previous_version: int | None = None  # to go back to, when the newest does not become ready


@dataclass(frozen=True, slots=True)
class View:
    """One endpoint at ``now_s``. What is held counts in the arrivals too: clients asked for it."""

    now_s: float
    parameters: EndpointParameters
    groups: Sequence[GroupView]
    workers: Sequence[WorkerView]
    stable_load_per_s: float  # arrivals over the stable window
    stable_requests: int  # how many those were
    burst_load_per_s: float  # arrivals over the burst window
    held: float = 0.0  # workload that waits at the engine
    held_requests: int = 0
    idle_s: float = 0.0  # since the last request came, or since the engine started
    watched: bool = True  # whether arrivals were counted for a whole stable window
    paused: bool = False  # its owner stopped it: everything to cold


@dataclass(frozen=True, slots=True)
class Create:
    """Make a new worker in a group, of this version of its launch, and start it."""

    group_id: int
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start a cold or failed worker again."""

    worker_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Let a worker drain, then keep it cold."""

    worker_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Destroy:
    """Let a worker drain when it runs well, and remove it."""

    worker_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Update:
    """Bring a worker to a version of its group's launch: let it drain when it runs, and start it again if ``start``."""

    worker_id: int
    version: int
    start: bool
    reason: str


Action = Create | Start | Stop | Destroy | Update
