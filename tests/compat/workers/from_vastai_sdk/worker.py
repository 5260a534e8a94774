# pyright: basic
import dataclasses
import os

from aiohttp import web
from vastai.serverless.server.lib.data_types import ApiPayload, EndpointHandler
from vastai_sdk import BenchmarkConfig, HandlerConfig, LogActionConfig, Serverless, Worker, WorkerConfig

assert Serverless


@dataclasses.dataclass
class Payload(ApiPayload):
    prompt: str

    @classmethod
    def for_test(cls):
        return cls(prompt=os.urandom(8).hex())

    def generate_payload_json(self):
        return {"inputs": self.prompt}

    def count_workload(self):
        return 1.0


class Handler(EndpointHandler[Payload]):
    @property
    def endpoint(self):
        return "/generate"

    @property
    def healthcheck_endpoint(self):
        return None

    @classmethod
    def payload_cls(cls):
        return Payload

    def make_benchmark_payload(self):
        return Payload.for_test()

    async def generate_client_response(self, client_request, model_response):
        return web.json_response(await model_response.json(), status=model_response.status)


worker = Worker(
    WorkerConfig(
        model_server_url=os.environ["MODEL_SERVER_URL"],
        model_log_file=os.environ["MODEL_LOG"],
        handlers=[
            HandlerConfig(
                route="/generate",
                handler_class=Handler,
                payload_class=Payload,
                benchmark_config=BenchmarkConfig(dataset=[{"prompt": "one"}, {"prompt": "two"}], runs=1),
            )
        ],
        log_action_config=LogActionConfig(on_load=["loaded"]),
    )
)


async def ping(_):
    return web.Response(text="pong")


worker.routes.append(web.get("/ping", ping))

if __name__ == "__main__":
    worker.run()
