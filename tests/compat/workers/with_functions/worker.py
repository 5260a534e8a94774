# pyright: basic
import asyncio
import os
import random

from aiohttp import web
from vastai_sdk import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig


def benchmark_generator() -> dict:
    return {"inputs": f"a picture of {random.randrange(10**6)} boats"}


async def respond(request: web.Request, model_response) -> web.StreamResponse:
    if model_response.status != 200:
        return web.Response(status=model_response.status)
    if "stream" in request.headers.get("Accept", ""):
        response = web.StreamResponse()
        await response.prepare(request)
        async for chunk in model_response.content.iter_any():
            await response.write(chunk)
        return response
    return web.json_response(await model_response.json())


class WorkerError(Exception):
    pass


def parse(payload: dict) -> dict:
    if not isinstance(payload.get("prompt"), str):
        raise ValueError("prompt must be a text")
    return {"inputs": payload["prompt"]}


async def ping(_):
    return web.Response(text="pong")


async def main() -> None:
    worker = Worker(
        WorkerConfig(
            model_server_url=os.environ["MODEL_SERVER_URL"],
            model_log_file=os.environ["MODEL_LOG"],
            handlers=[
                HandlerConfig(
                    route="/generate",
                    allow_parallel_requests=False,
                    max_queue_time=None,
                    request_parser=parse,
                    response_generator=respond,
                    workload_calculator=lambda _: 100.0,
                    benchmark_config=BenchmarkConfig(generator=benchmark_generator, concurrency=100, runs=2),
                )
            ],
            log_action_config=LogActionConfig(on_load=["loaded"]),
        )
    )
    worker.routes.append(web.get("/ping", ping))
    await worker.run_async()


if __name__ == "__main__":
    asyncio.run(main())
