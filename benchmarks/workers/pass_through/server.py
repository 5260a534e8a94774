"""The two routes passed through: payload and answer go by as bytes."""

import os

from aiohttp import web

from pyworker import Backend, LogAction, PassThroughHandler, start_server

generate = PassThroughHandler(
    endpoint="/generate",
    benchmark_payload=lambda: {"prompt": "lorem ipsum", "max_response_tokens": 300},
    benchmark_runs=1,
    concurrency=4,
)
backend = Backend(
    model_server_url=f"http://127.0.0.1:{os.environ['MODEL_PORT']}",
    model_log_file=os.environ["MODEL_LOG"],
    allow_parallel_requests=True,
    benchmark_handler=generate,
    log_actions=[(LogAction.ModelLoaded, "infer server has started")],
)
routes = [
    web.post("/generate", backend.create_handler(generate)),
    web.post("/generate_stream", backend.create_handler(PassThroughHandler(endpoint="/generate_stream"))),
]

if __name__ == "__main__":
    start_server(backend, routes)
