"""A declared worker with nothing wrong."""

# ruff: noqa: S311
import random
from typing import Any

from aiohttp import ClientResponse, web

from pyworker import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig
from pyworker.errors import JsonDataException

WORDS = ["river", "stone", "evening", "boat"]


def some_words() -> dict[str, Any]:
    return {"prompt": " ".join(random.choices(WORDS, k=50)), "seed": random.randrange(10**9)}


def parse(payload: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(payload.get("prompt"), str):
        raise JsonDataException({"prompt": "must be a text"})
    return {**payload, "stop": ["END"]}


def count(payload: dict[str, Any]) -> float:
    return float(len(payload["prompt"]))


async def answer(request: web.Request, model_response: ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=model_response.status)
    await response.prepare(request)
    async for piece in model_response.content.iter_any():
        await response.write(piece)
    return response


async def add(a: int, b: int = 1) -> int:
    return a + b


Worker(
    WorkerConfig(
        model_server_url="http://127.0.0.1",
        model_server_port=5001,
        handlers=[
            HandlerConfig(
                route="/generate",
                allow_parallel_requests=True,
                request_parser=parse,
                workload_calculator=count,
                benchmark_config=BenchmarkConfig(generator=some_words, runs=3),
            ),
            HandlerConfig(route="/stream", request_parser=parse, response_generator=answer),
        ],
        log_action_config=LogActionConfig(on_load=["server has started"], on_error=["out of memory"]),
    )
).run()
