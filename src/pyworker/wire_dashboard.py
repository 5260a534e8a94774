"""The JSON of the dashboard: a login, and the figures that ``/events?figures=1`` tells once a second.

Workload in the workers' unit, per second where the name says so; times in s.
"""

from __future__ import annotations

import msgspec

__all__ = ["EndpointFigures", "Figures", "GroupFigures", "LoginAnswer", "LoginRequest", "TimesFigures", "WorkerFigures"]


class LoginRequest(msgspec.Struct):
    """Body of ``POST /login``."""

    api_key: str = ""


class LoginAnswer(msgspec.Struct):
    """Answer of ``GET``, ``POST /login`` and ``POST /logout``."""

    logged_in: bool
    success: bool = True


class TimesFigures(msgspec.Struct, kw_only=True):
    """How long the requests took that ended in the last minute, from a worker's door to the end of the answer."""

    requests: int = 0
    failed: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    queue_p95_s: float | None = None  # of that, waiting in the worker


class WorkerFigures(msgspec.Struct, kw_only=True):
    """A worker. ``why`` says in words why it takes no requests; empty when it does."""

    id: int
    workergroup_id: int
    status: str
    why: str
    since_s: float  # how long it has been so
    load: float
    capacity_per_s: float
    served_per_s: float
    working: int
    version: int


class GroupFigures(msgspec.Struct, kw_only=True):
    """A workergroup: how it is in words, its version, and the one before while an update is rolled out."""

    id: int
    condition: str
    version: int
    updating_from: int | None


class EndpointFigures(msgspec.Struct, kw_only=True):
    """An endpoint with its workers."""

    id: int
    stable_per_s: float  # load, over the last 60 s
    burst_per_s: float  # ... over the last 6 s
    capacity_per_s: float  # of workers that are ready
    active_target_per_s: float
    total_target_per_s: float
    in_flight: float
    waiting: float  # workload that waits at the engine
    waiting_requests: int
    decision: str
    times: TimesFigures
    groups: list[GroupFigures]
    workers: list[WorkerFigures]


class Figures(msgspec.Struct, kw_only=True):
    """All endpoints, at ``at`` (s since 1970)."""

    at: float
    endpoints: list[EndpointFigures]
