"""The pass-through handler: payload and answer go through as they are, never decoded and encoded again.

And the handler of the declarative style, which is one with functions of its author in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyworker.errors import ConfigurationError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, web

    from pyworker.api import ApiPayload

__all__ = ["DEFAULT_WORKLOAD", "DeclaredHandler", "PassThroughHandler"]

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
        answer_workload: workload of the whole request as its answer shows it, from the last bytes of the answer's body
            (at most 64 KiB; only 2xx, only when it came whole); None when they do not say. The request is booked
            at it from then on, and requests to come are estimated better. Answers to the benchmark are counted by
            it as well, so that load and capacity are in one unit.
        benchmark_payload: makes a payload (JSON object) for the benchmark; None: this handler cannot be the benchmark.
        websocket: the route is a websocket (GET); each one that is open is a request in flight with this ``workload``.
        has_benchmark, benchmark_runs, concurrency, do_warmup_benchmark, allow_parallel_requests, max_queue_time,
            methods, max_concurrency, healthcheck_endpoint: as EndpointHandler has them.
    """

    endpoint: str
    workload_calculator: Callable[[dict[str, Any]], float] | None = None
    workload: float = DEFAULT_WORKLOAD
    answer_workload: Callable[[bytes], float | None] | None = None
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
    websocket: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what a websocket cannot have."""
        if not self.websocket:
            return
        for name in ("workload_calculator", "benchmark_payload", "answer_workload"):
            if getattr(self, name) is not None:
                raise ConfigurationError(
                    f"PassThroughHandler({self.endpoint!r}, websocket=True) has no payload for its {name}: "
                    "give workload, which each open websocket counts"
                )
        if self.methods not in {("POST",), ("GET",)}:
            raise ConfigurationError(f"PassThroughHandler({self.endpoint!r}, websocket=True) is opened by GET only")
        self.methods = ("GET",)


@dataclass
class DeclaredHandler(PassThroughHandler):
    """What a HandlerConfig without a ``handler_class`` becomes: a pass-through handler, and the author's functions.

    Attributes:
        request_parser: makes of a client's payload the one that is sent.
        payload_class: checks and encodes payloads, and counts their workload unless there is a calculator.
        response_generator: makes the answer to the client, instead of passing the model's through.
        remote_function: called with the payload as keywords, instead of a model server.
    """

    request_parser: Callable[[dict[str, Any]], Any] | None = None
    payload_class: type[ApiPayload] | None = None
    response_generator: Callable[[web.Request, ClientResponse], Awaitable[web.StreamResponse]] | None = None
    remote_function: Callable[..., Awaitable[Any]] | None = None
