"""A worker for tests of its process: one route passed through, one authored, one whose parser blocks."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from pyworker import Backend, PassThroughHandler, start_server
from tests.support.workers.handlers import Generate, GenerateStream, Prompt, requested_tokens


@dataclasses.dataclass
class BlockingPrompt(Prompt):
    """Its parser does what no parser should: it waits, here for the file that the prompt names."""

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:
        prompt = super().from_json_msg(json_msg)
        while not Path(prompt.prompt).exists():
            time.sleep(0.01)
        return prompt


@dataclasses.dataclass
class BlockingGenerate(Generate):
    """Before ``/blocking``."""

    route: str = "/blocking"

    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return BlockingPrompt


backend = Backend(os.environ["MODEL_SERVER_URL"], allow_parallel_requests=True, fixed_throughput=1e9)


async def ping(_: web.Request) -> web.Response:
    """Whether the worker is there."""
    return web.Response(text="pong")


routes = [
    *backend.routes(PassThroughHandler("/generate", workload_calculator=requested_tokens)),
    *backend.routes(Generate(route="/authored"), GenerateStream(), BlockingGenerate()),
    web.get("/ping", ping),
]

if __name__ == "__main__":
    start_server(backend, routes)
