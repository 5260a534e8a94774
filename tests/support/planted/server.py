"""A worker with nothing wrong."""

# ruff: noqa: ARG002, S311
import dataclasses
import random
from typing import Any, Self

from aiohttp import ClientResponse, web

from pyworker import ApiPayload, Backend, EndpointHandler, LogAction, start_server

WORDS = ["river", "stone", "evening", "boat"]


@dataclasses.dataclass
class Prompt(ApiPayload):
    """What a client sends."""

    prompt: str
    seed: int = 0
    stop: list[str] = dataclasses.field(default_factory=list[str])

    @classmethod
    def for_test(cls) -> Self:
        return cls(prompt=" ".join(random.choices(WORDS, k=50)), seed=random.randrange(10**9))

    def count_workload(self) -> float:
        return float(len(self.prompt))


@dataclasses.dataclass
class Generate(EndpointHandler[Prompt]):
    """The whole answer."""

    @property
    def endpoint(self) -> str:
        return "/generate"

    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return Prompt

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.StreamResponse:
        body = await model_response.read()
        return web.Response(body=body, status=model_response.status, content_type=model_response.content_type)


@dataclasses.dataclass
class GenerateStream(Generate):
    """Piece by piece."""

    @property
    def endpoint(self) -> str:
        return "/generate_stream"

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=model_response.status)
        await response.prepare(client_request)
        async for piece in model_response.content.iter_any():
            await response.write(piece)
        return response


backend = Backend(
    model_server_url="http://127.0.0.1:5001",
    model_log_file="/var/log/model.log",
    allow_parallel_requests=True,
    benchmark_handler=Generate(benchmark_runs=3),
    log_actions=[(LogAction.ModelLoaded, "server has started"), (LogAction.ModelError, "out of memory")],
)


async def ping(_: web.Request) -> web.Response:
    return web.Response(text="pong")


def session() -> dict[str, Any]:
    """What a client opens a session with."""
    return {"on_close_route": "/generate", "on_close_payload": {}}


routes = [
    web.post("/generate", backend.create_handler(Generate())),
    web.post("/generate_stream", backend.create_handler(GenerateStream())),
    web.get("/ping", ping),
]

start_server(backend, routes)
