# pyright: basic, reportMissingImports=false
"""The same two routes on the SDK worker that people run today; runs in a venv that has ``vastai``."""

import os

from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

SAMPLE = {"prompt": "lorem ipsum", "max_response_tokens": 300}


def workload(payload: dict) -> float:
    return float(payload["max_response_tokens"])


Worker(
    WorkerConfig(
        model_server_url="http://127.0.0.1",
        model_server_port=int(os.environ["MODEL_PORT"]),
        model_log_file=os.environ["MODEL_LOG"],
        model_healthcheck_url="/healthcheck",
        handlers=[
            HandlerConfig(
                route="/generate",
                allow_parallel_requests=True,
                max_queue_time=None,
                workload_calculator=workload,
                benchmark_config=BenchmarkConfig(dataset=[SAMPLE], runs=1, concurrency=4),
            ),
            HandlerConfig(
                route="/generate_stream",
                allow_parallel_requests=True,
                max_queue_time=None,
                workload_calculator=workload,
            ),
        ],
        log_action_config=LogActionConfig(on_load=["infer server has started"]),
    )
).run()
