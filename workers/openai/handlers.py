"""The routes of OpenAI's API, and the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyworker import BenchmarkConfig, HandlerConfig
from pyworker.prompts import random_prompt
from workers.openai.presets import Preset
from workers.openai.workload import ESTIMATES, RECORDING, answered

__all__ = ["COMPLETIONS", "benchmark_of", "handlers"]

COMPLETIONS: Final = "/v1/completions"  # every server has it, and a prompt there stands without a template around it
FORMS: Final = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/v1/images/variations")
MODELS: Final = "/v1/models"
MAX_QUEUE_S: Final = 30.0


def handlers(benchmarks: Mapping[str, BenchmarkConfig]) -> list[HandlerConfig]:
    """One handler for each route; ``benchmarks`` has the one whose requests measure the capacity."""
    counted = [
        _handler(route, workload_calculator=estimate, benchmark_config=benchmarks.get(route))
        for route, estimate in ESTIMATES.items()
    ]
    forms = [_handler(route, workload=RECORDING) for route in FORMS]
    return [*counted, *forms, _handler(MODELS, methods=("GET",), workload=0.0, answer_workload=None)]


def _handler(route: str, **given: Any) -> HandlerConfig:
    """The server batches by itself, so that many requests are at work at once."""
    fields: dict[str, Any] = {"max_queue_time": MAX_QUEUE_S, "answer_workload": answered, **given}
    return HandlerConfig(route=route, allow_parallel_requests=True, **fields)


def benchmark_of(server: Preset, env: Mapping[str, str]) -> BenchmarkConfig:
    """Completions of prompts that no cache knows. Raises ValueError for a variable that is no number from 1 up."""
    words, answer_tokens = _number(env, "BENCHMARK_WORDS", 250), _number(env, "BENCHMARK_TOKENS", 250)
    model = env.get("MODEL_NAME")
    if server.needs_model and not model:
        raise ValueError("MODEL_NAME is not set: this server wants each request to name its model")
    named = {"model": model} if model else {}

    def request() -> dict[str, Any]:
        return {**named, **server.benchmark, "prompt": random_prompt(words), "max_tokens": answer_tokens}

    runs, concurrency = _number(env, "BENCHMARK_RUNS", 3), _number(env, "BENCHMARK_CONCURRENCY", 10)
    return BenchmarkConfig(generator=request, runs=runs, concurrency=concurrency)


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}; give a whole number from 1 up")
    return int(text)
