"""Runs in the SDK's Python: the worker that people run today, before the model server on $MODEL_PORT."""

import os

from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

Worker(
    WorkerConfig(
        model_server_url="http://127.0.0.1",
        model_server_port=int(os.environ["MODEL_PORT"]),
        model_log_file=os.environ["MODEL_LOG"],
        model_healthcheck_url="/health",
        handlers=[
            HandlerConfig(
                route="/generate",
                workload_calculator=lambda _payload: 10.0,
                benchmark_config=BenchmarkConfig(dataset=[{"prompt": "x"}], runs=1, concurrency=1),
            )
        ],
        log_action_config=LogActionConfig(on_load=["model loaded"]),
    )
).run()
