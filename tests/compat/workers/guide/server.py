# pyright: basic
from __future__ import annotations

import dataclasses
import logging
import os

from aiohttp import ClientResponse, web

from lib.backend import Backend, LogAction
from lib.data_types import EndpointHandler
from lib.server import start_server

from .data_types import InputData

logging.basicConfig(level=logging.INFO)

MODEL_SERVER_URL = os.environ["MODEL_SERVER_URL"]


@dataclasses.dataclass
class GenerateHandler(EndpointHandler[InputData]):
    @property
    def endpoint(self) -> str:
        return "/generate"

    @classmethod
    def payload_cls(cls) -> type[InputData]:
        return InputData

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        return web.json_response(await model_response.json(), status=model_response.status)


backend = Backend(
    model_server_url=MODEL_SERVER_URL,
    model_log_file=os.environ["MODEL_LOG"],
    allow_parallel_requests=True,
    benchmark_handler=GenerateHandler(benchmark_runs=1, concurrency=2),
    log_actions=[(LogAction.ModelLoaded, "loaded"), (LogAction.ModelError, "Traceback")],
)


async def handle_ping(_):
    return web.Response(body="pong")


routes = [web.post("/generate", backend.create_handler(GenerateHandler())), web.get("/ping", handle_ping)]

if __name__ == "__main__":
    start_server(backend, routes)
