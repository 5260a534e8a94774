"""The worker that stands before the LLM server: ``python -m workers.hello_world.server``."""

from __future__ import annotations

import dataclasses
import os

from aiohttp import ClientError, ClientResponse, web

from lib.backend import Backend
from lib.data_types import EndpointHandler, LogAction
from lib.server import start_server
from workers.hello_world.data_types import InputData

MODEL_SERVER_URL = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:5001")
MODEL_LOG = os.environ.get("MODEL_LOG")


@dataclasses.dataclass
class GenerateHandler(EndpointHandler[InputData]):
    """``/generate``: the whole answer, as JSON."""

    @property
    def endpoint(self) -> str:
        """The route on the model's API."""
        return "/generate"

    @property
    def healthcheck_endpoint(self) -> str:
        """Where the model server says whether it is well."""
        return "/healthcheck"

    @classmethod
    def payload_cls(cls) -> type[InputData]:
        """What a request to this route holds."""
        return InputData

    def make_benchmark_payload(self) -> InputData:
        """What the capacity is measured with."""
        return InputData.of_random_words(self.benchmark_words)

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        """What the model said, errors included."""
        return web.Response(
            status=model_response.status, body=await model_response.read(), content_type=model_response.content_type
        )


@dataclasses.dataclass
class GenerateStreamHandler(EndpointHandler[InputData]):
    """``/generate_stream``: one token at a time, as an event stream."""

    @property
    def endpoint(self) -> str:
        """The route on the model's API."""
        return "/generate_stream"

    @property
    def healthcheck_endpoint(self) -> str:
        """Where the model server says whether it is well."""
        return "/healthcheck"

    @classmethod
    def payload_cls(cls) -> type[InputData]:
        """What a request to this route holds."""
        return InputData

    def make_benchmark_payload(self) -> InputData:
        """What the capacity is measured with."""
        return InputData.of_random_words(self.benchmark_words)

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        """Each piece as it comes."""
        response = web.StreamResponse(status=model_response.status)
        response.content_type = model_response.content_type
        await response.prepare(client_request)
        async for piece in model_response.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


backend = Backend(
    model_server_url=MODEL_SERVER_URL,
    model_log_file=MODEL_LOG,
    allow_parallel_requests=True,
    benchmark_handler=GenerateHandler(benchmark_runs=3, benchmark_words=250),
    log_actions=[
        (LogAction.ModelLoaded, "infer server has started"),
        (LogAction.ModelError, "Exception: corrupted model file"),
        (LogAction.ModelError, "cannot start the model server"),
        (LogAction.Info, '"message":"Download'),
    ],
)


async def ping(_: web.Request) -> web.Response:
    """Whether the worker is there."""
    return web.Response(text="pong")


async def healthcheck(_: web.Request) -> web.Response:
    """Whether the model is well, in its own words."""
    try:
        async with backend.session.get("/healthcheck") as response:
            body = await response.read()
            return web.Response(status=response.status, body=body, content_type=response.content_type)
    except ClientError:
        return web.json_response({"status": "the model does not answer"}, status=503)


routes = [
    web.post("/generate", backend.create_handler(GenerateHandler())),
    web.post("/generate_stream", backend.create_handler(GenerateStreamHandler())),
    web.get("/ping", ping),
    web.get("/healthcheck", healthcheck),
]

if __name__ == "__main__":
    start_server(backend, routes)
