"""A worker for tests of scaling: one route passed through, its capacity said and not measured."""

import os
from typing import Any

from pyworker import Backend, PassThroughHandler, start_server


def tokens(payload: dict[str, Any]) -> float:
    """Workload: the tokens that are asked for."""
    return float(payload.get("tokens", 1))


backend = Backend(
    os.environ["MODEL_SERVER_URL"],
    allow_parallel_requests=True,
    healthcheck_url="/health",
    fixed_throughput=float(os.environ.get("CAPACITY", "100")),
)

if __name__ == "__main__":
    start_server(backend, backend.routes(PassThroughHandler("/generate", workload_calculator=tokens)))
