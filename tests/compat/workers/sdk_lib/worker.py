# pyright: basic
import dataclasses
import os
import random

from aiohttp import web
from vastai.serverless.server.lib.backend import Backend, LogAction
from vastai.serverless.server.lib.data_types import ApiPayload, EndpointHandler, JsonDataException
from vastai.serverless.server.lib.metrics import Metrics
from vastai.serverless.server.lib.server import start_server

assert issubclass(JsonDataException, Exception)
assert Metrics


@dataclasses.dataclass
class Payload(ApiPayload):
    prompt: str

    @classmethod
    def for_test(cls):
        return cls(prompt=random.choice(["x", "y"]) * random.randrange(1, 9))

    def generate_payload_json(self):
        return {"inputs": self.prompt}

    def count_workload(self):
        return 1


@dataclasses.dataclass
class GenerateHandler(EndpointHandler[Payload]):
    @property
    def endpoint(self):
        return "/generate"

    @property
    def healthcheck_endpoint(self):
        return "/health"

    @classmethod
    def payload_cls(cls):
        return Payload

    def make_benchmark_payload(self):
        return self.payload_cls().for_test()

    async def generate_client_response(self, client_request, model_response):
        return web.json_response(await model_response.json(), status=model_response.status)


backend = Backend(
    model_server_url=os.environ["MODEL_SERVER_URL"],
    model_log_file=os.environ.get("MODEL_LOG"),
    allow_parallel_requests=True,
    benchmark_handler=GenerateHandler(benchmark_runs=1, concurrency=1),
    log_actions=[(LogAction.ModelLoaded, "loaded")],
)
routes = [web.post("/generate", backend.create_handler(GenerateHandler()))]


async def ping(_):
    return web.Response(text="pong")


routes.append(web.get("/ping", ping))
start_server(backend, routes)
