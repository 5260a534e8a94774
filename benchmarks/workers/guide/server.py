"""The two routes as the extension guide writes them: payload and answer decoded, ``ClientResponse`` in hand."""

import dataclasses
import os

from aiohttp import ClientResponse, web

from benchmarks.workers.guide.data_types import InputData
from lib.backend import Backend, LogAction
from lib.data_types import EndpointHandler
from lib.server import start_server


@dataclasses.dataclass
class GenerateHandler(EndpointHandler[InputData]):
    @property
    def endpoint(self) -> str:
        return "/generate"

    @property
    def healthcheck_endpoint(self) -> str | None:
        return "/healthcheck"

    @classmethod
    def payload_cls(cls) -> type[InputData]:
        return InputData

    def make_benchmark_payload(self) -> InputData:
        return InputData.for_test()

    async def generate_client_response(
        self,
        client_request: web.Request,  # noqa: ARG002 (the guide's signature)
        model_response: ClientResponse,
    ) -> web.Response | web.StreamResponse:
        if model_response.status != 200:
            return web.Response(status=model_response.status)
        return web.json_response(data=await model_response.json())


class GenerateStreamHandler(GenerateHandler):
    @property
    def endpoint(self) -> str:
        return "/generate_stream"

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        if model_response.status != 200:
            return web.Response(status=model_response.status)
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        await response.prepare(client_request)
        async for chunk in model_response.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


backend = Backend(
    model_server_url=f"http://127.0.0.1:{os.environ['MODEL_PORT']}",
    model_log_file=os.environ["MODEL_LOG"],
    allow_parallel_requests=True,
    benchmark_handler=GenerateHandler(benchmark_runs=1, concurrency=4),
    log_actions=[(LogAction.ModelLoaded, "infer server has started")],
)
routes = [
    web.post("/generate", backend.create_handler(GenerateHandler())),
    web.post("/generate_stream", backend.create_handler(GenerateStreamHandler())),
]

if __name__ == "__main__":
    start_server(backend, routes)
