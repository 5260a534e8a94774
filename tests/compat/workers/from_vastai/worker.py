# pyright: basic
import os
import random

from vastai import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

MODEL = os.environ["MODEL_SERVER_URL"]
HOST, PORT = MODEL.rsplit(":", 1)

MODEL_LOAD_LOG_MSG = ["loaded"]
MODEL_ERROR_LOG_MSGS = ["INFO exited: model", "RuntimeError: "]


def benchmark_generator():
    prompt = " ".join(random.choices(["river", "stone", "boat"], k=20))
    return {"inputs": prompt, "max_tokens": 30}


def request_parser(request):
    data = request
    if request.get("prompt") is not None:
        data = {"inputs": request["prompt"]}
    return data


worker_config = WorkerConfig(
    model_server_url=HOST,
    model_server_port=int(PORT),
    model_log_file=os.environ["MODEL_LOG"],
    handlers=[
        HandlerConfig(
            route="/generate",
            workload_calculator=lambda data: float(len(data.get("inputs", ""))),
            request_parser=request_parser,
            allow_parallel_requests=True,
            max_queue_time=60.0,
            benchmark_config=BenchmarkConfig(generator=benchmark_generator, concurrency=2, runs=1),
        ),
        HandlerConfig(route="/other", workload_calculator=lambda data: data.get("max_tokens", 0)),
    ],
    log_action_config=LogActionConfig(
        on_load=MODEL_LOAD_LOG_MSG, on_error=MODEL_ERROR_LOG_MSGS, on_info=['"message":"Download']
    ),
)

Worker(worker_config).run()
