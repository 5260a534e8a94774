"""Embeddings of any server that speaks OpenAI's API: ``pyworker run workers/embeddings``."""

from __future__ import annotations

import os
from typing import Any

from pyworker import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig
from pyworker.prompts import random_prompt
from workers.openai.presets import preset
from workers.openai.workload import answered, embeddings

server = preset(os.environ.get("OPENAI_SERVER", "llamacpp"))
named = {"model": os.environ["MODEL_NAME"]} if os.environ.get("MODEL_NAME") else {}


def texts() -> dict[str, Any]:
    """What the capacity is measured with: four texts that no cache knows."""
    return {**named, "input": [random_prompt(60) for _ in range(4)]}


worker = Worker(
    WorkerConfig(
        model_server_url=os.environ.get("MODEL_SERVER_URL") or f"http://127.0.0.1:{server.port}",
        model_healthcheck_url=server.health,
        log_action_config=LogActionConfig(on_load=list(server.on_load), on_error=list(server.on_error)),
        handlers=[
            HandlerConfig(
                route="/v1/embeddings",
                allow_parallel_requests=True,
                workload_calculator=embeddings,
                answer_workload=answered,
                benchmark_config=BenchmarkConfig(generator=texts, runs=3, concurrency=4),
            ),
            HandlerConfig(route="/v1/models", methods=("GET",), allow_parallel_requests=True, workload=0.0),
        ],
    )
)

if __name__ == "__main__":
    worker.run()
