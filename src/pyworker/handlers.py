"""The pass-through handler: payload and answer go through as they are, never decoded and encoded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULT_WORKLOAD", "PassThroughHandler"]

DEFAULT_WORKLOAD = 100.0


@dataclass
class PassThroughHandler:
    """One endpoint of the model server whose requests and answers are not looked at.

    The ``payload`` of an envelope is sent on byte for byte, as is the body of a request that carries its proof in
    ``X-Auth-Data``; status, headers and body of the answer come back the same way, a stream piece by piece.

    Attributes:
        endpoint: the route on the model's API; ``{name}`` is filled from the worker's route.
        workload_calculator: workload of a payload that is a JSON object; None counts every request as ``workload``,
            and then the payload is not decoded.
        workload: workload of a request that is not calculated.
        benchmark_payload: makes a payload (JSON object) for the benchmark; None: this handler cannot be the benchmark.
        has_benchmark, benchmark_runs, concurrency, do_warmup_benchmark, allow_parallel_requests, max_queue_time,
            methods, max_concurrency, healthcheck_endpoint: as EndpointHandler has them.
    """

    endpoint: str
    workload_calculator: Callable[[dict[str, Any]], float] | None = None
    workload: float = DEFAULT_WORKLOAD
    benchmark_payload: Callable[[], dict[str, Any]] | None = None
    benchmark_runs: int = 8
    concurrency: int = 10
    do_warmup_benchmark: bool = True
    allow_parallel_requests: bool | None = None
    max_queue_time: float | None = None
    methods: tuple[str, ...] = ("POST",)
    max_concurrency: int | None = None
    healthcheck_endpoint: str | None = None
    has_benchmark: bool = True
