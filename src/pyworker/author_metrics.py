"""What authors may show on their own routes: a worker's numbers, read when asked for. Workload in its own unit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from typing import Protocol

from pyworker.settings import WorkerSettings, environment

__all__ = ["Metrics", "ModelMetrics", "RequestIndices", "RequestMetrics", "SystemMetrics", "get_url"]


@dataclass
class SystemMetrics:
    """``model_loading_start`` in epoch s, ``model_loading_time`` in s (None until loaded), disk usage in GB."""

    model_loading_start: float
    model_loading_time: float | None
    last_disk_usage: float
    additional_disk_usage: float
    model_is_loaded: bool


@dataclass
class RequestMetrics:
    """One request in flight."""

    request_idx: int
    reqnum: int
    workload: float
    status: str


class RequestIndices(Set[int]):
    """Requests received so far: ``len()`` counts all distinct ones, iteration gives the indices still remembered."""

    def __init__(self, remembered: Iterable[int], count: int) -> None:
        self._remembered = frozenset(remembered)
        self._count = count

    def __contains__(self, request_idx: object) -> bool:
        return request_idx in self._remembered

    def __iter__(self) -> Iterator[int]:
        return iter(self._remembered)

    def __len__(self) -> int:
        return self._count


@dataclass
class ModelMetrics:
    """Workload totals since start; ``cur_perf`` since the last report; ``max_throughput`` in workload/s."""

    workload_served: float
    workload_received: float
    workload_cancelled: float
    workload_errored: float
    workload_rejected: float
    workload_pending: float
    cur_perf: float
    error_msg: str
    max_throughput: float
    requests_recieved: RequestIndices
    requests_working: dict[int, RequestMetrics]


class MetricsSource(Protocol):
    """Where the numbers come from: the running worker."""

    def system_metrics(self) -> SystemMetrics: ...
    def model_metrics(self) -> ModelMetrics: ...


class Metrics:
    """``id`` and ``url`` of the worker, and its numbers of this moment."""

    def __init__(self, id: int, url: str, source: MetricsSource) -> None:  # noqa: A002
        self.id = id
        self.url = url
        self._source = source

    @property
    def system_metrics(self) -> SystemMetrics:
        """About the machine and the model's start."""
        return self._source.system_metrics()

    @property
    def model_metrics(self) -> ModelMetrics:
        """About requests and workload."""
        return self._source.model_metrics()


def get_url() -> str:
    """This worker's public address, from the environment. Raises SettingsError when that is not complete."""
    return WorkerSettings.from_env(environment()).url
