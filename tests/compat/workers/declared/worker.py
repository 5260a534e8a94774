# pyright: basic
import os
import random

from aiohttp import web
from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

MODEL_SERVER_URL = os.environ["MODEL_SERVER_URL"]
WORDS = ["river", "stone", "evening", "boat"]

benchmark_dataset = [{"inputs": " ".join(random.choices(WORDS, k=20)), "max_tokens": 50} for _ in range(10)]


def request_parser(request):
    data = request
    if request.get("prompt") is not None:
        data = {"inputs": request["prompt"]}
    return data


async def ping(_):
    return web.Response(text="pong")


worker_config = WorkerConfig(
    model_server_url=MODEL_SERVER_URL.rpartition(":")[0],
    model_server_port=int(MODEL_SERVER_URL.rpartition(":")[2]),
    model_log_file=os.environ.get("MODEL_LOG"),
    model_healthcheck_url="/health",
    handlers=[
        HandlerConfig(
            route="/v1/completions",
            workload_calculator=lambda data: data.get("max_tokens", 0),
            allow_parallel_requests=True,
            max_queue_time=600.0,
        ),
        HandlerConfig(
            route="/generate",
            workload_calculator=lambda p: float(p.get("max_tokens", 0)),
            allow_parallel_requests=True,
            request_parser=request_parser,
            max_queue_time=60.0,
            benchmark_config=BenchmarkConfig(dataset=benchmark_dataset, runs=1, concurrency=5),
        ),
    ],
    log_action_config=LogActionConfig(
        on_load=["loaded", "Application startup complete."],
        on_error=["Traceback (most recent call last):", "CUDA out of memory"],
        on_info=['"message":"Download'],
    ),
)
worker = Worker(worker_config)
worker.routes.append(web.get("/ping", ping))
worker.run()
