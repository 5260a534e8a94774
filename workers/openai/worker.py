"""The worker before any server that speaks OpenAI's API: ``pyworker run workers/openai``."""

from __future__ import annotations

import os

from pyworker import LogActionConfig, Worker, WorkerConfig
from workers.openai.handlers import COMPLETIONS, benchmark_of, handlers
from workers.openai.presets import preset

server = preset(os.environ.get("OPENAI_SERVER", "vllm"))

worker = Worker(
    WorkerConfig(
        model_server_url=os.environ.get("MODEL_SERVER_URL") or f"http://127.0.0.1:{server.port}",
        model_healthcheck_url=server.health,
        log_action_config=LogActionConfig(
            on_load=list(server.on_load), on_error=list(server.on_error), on_info=list(server.on_info)
        ),
        handlers=handlers({COMPLETIONS: benchmark_of(server, os.environ)}),
    )
)

if __name__ == "__main__":
    worker.run()
