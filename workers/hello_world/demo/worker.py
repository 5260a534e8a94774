"""The demo's worker: hello_world's own, with a benchmark of seconds where the real one takes minutes on a CPU.

It speaks OpenAI's API besides: what an engine's gateway has under ``/openai/hello/v1``.
"""

from __future__ import annotations

import dataclasses

from lib.server import start_server
from workers.hello_world.data_types import InputData
from workers.hello_world.demo.chat import HANDLERS
from workers.hello_world.server import GenerateHandler, backend, routes


class BriefBenchmark(GenerateHandler):
    """``/generate``, measured with short answers."""

    def make_benchmark_payload(self) -> InputData:
        """Words of the benchmark's own number, 30 tokens of an answer."""
        return dataclasses.replace(super().make_benchmark_payload(), max_response_tokens=30)


if __name__ == "__main__":
    backend.benchmark_handler = BriefBenchmark(benchmark_runs=1, benchmark_words=40, concurrency=4)
    start_server(backend, [*routes, *backend.routes(*HANDLERS)])
