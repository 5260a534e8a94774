"""The two routes by declaration, as the guide's handlers have them: a workload is counted, and the benchmark is theirs.

With a ``response_generator`` (DECLARED=generator) the answer is made of a ``ClientResponse``, as the guide's is.
"""

import os
from typing import Any

from aiohttp import ClientResponse, web

from pyworker import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

SAMPLE = {"prompt": "lorem ipsum", "max_response_tokens": 300}


def workload(payload: dict[str, Any]) -> float:
    return float(payload["max_response_tokens"])


async def whole(_request: web.Request, response: ClientResponse) -> web.Response:
    if response.status != 200:
        return web.Response(status=response.status)
    return web.json_response(data=await response.json())


async def streamed(request: web.Request, response: ClientResponse) -> web.StreamResponse:
    answer = web.StreamResponse(status=response.status)
    answer.content_type = "text/event-stream"
    await answer.prepare(request)
    async for chunk in response.content.iter_any():
        await answer.write(chunk)
    return answer


makes_answers = os.environ.get("DECLARED") == "generator"
config = WorkerConfig(
    model_server_url=f"http://127.0.0.1:{os.environ['MODEL_PORT']}",
    model_log_file=os.environ["MODEL_LOG"],
    handlers=[
        HandlerConfig(
            route="/generate",
            allow_parallel_requests=True,
            max_queue_time=None,
            workload_calculator=workload,
            response_generator=whole if makes_answers else None,
            benchmark_config=BenchmarkConfig(dataset=[SAMPLE], runs=1, concurrency=4),
        ),
        HandlerConfig(
            route="/generate_stream",
            allow_parallel_requests=True,
            max_queue_time=None,
            workload_calculator=workload,
            response_generator=streamed if makes_answers else None,
        ),
    ],
    log_action_config=LogActionConfig(on_load=["infer server has started"]),
)

if __name__ == "__main__":
    Worker(config).run()
