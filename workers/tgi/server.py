"""The worker that stands before text-generation-inference: ``python -m workers.tgi.server``."""

from __future__ import annotations

import dataclasses
import os

from aiohttp import ClientResponse, web

from lib.backend import Backend
from lib.data_types import EndpointHandler, LogAction
from lib.server import start_server
from pyworker.answers import pass_on
from pyworker.handlers import PassThroughHandler
from workers.openai.workload import answered
from workers.tgi.data_types import GenerateData, count_chat

MODEL_SERVER_URL = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:5001")
MODEL_LOG = os.environ.get("MODEL_LOG")


@dataclasses.dataclass(kw_only=True)
class GenerateHandler(EndpointHandler[GenerateData]):
    """``/generate`` and ``/generate_stream``, which take the same and differ in how they answer.

    ``failure``: what an answer holds only when the generation failed after its first token.
    """

    route: str = "/generate"
    failure: bytes | None = None

    @property
    def endpoint(self) -> str:
        """The route on TGI."""
        return self.route

    @property
    def healthcheck_endpoint(self) -> str:
        """Where TGI says whether it is well."""
        return "/health"

    @classmethod
    def payload_cls(cls) -> type[GenerateData]:
        """``inputs`` and ``parameters``."""
        return GenerateData

    def make_benchmark_payload(self) -> GenerateData:
        """As long as ``benchmark_words`` says."""
        return GenerateData.of_random_words(self.benchmark_words)

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.StreamResponse:
        """What TGI said, errors included, as it comes."""
        return await pass_on(client_request, model_response, failure=self.failure)


backend = Backend(
    model_server_url=MODEL_SERVER_URL,
    model_log_file=MODEL_LOG,
    allow_parallel_requests=True,
    benchmark_handler=GenerateHandler(benchmark_runs=3, benchmark_words=250),
    log_actions=[
        (LogAction.ModelLoaded, "Connected"),
        (LogAction.ModelError, "ShardCannotStart"),
        (LogAction.ModelError, "DownloadError"),
        (LogAction.ModelError, "WebserverCrashed"),
        (LogAction.ModelError, "WebserverFailed"),
        (LogAction.Info, "Download"),
        (LogAction.Info, "Waiting for shard to be ready"),
    ],
)

stream = GenerateHandler(route="/generate_stream", failure=b'data:{"error"')

routes = [
    web.post("/generate", backend.create_handler(GenerateHandler())),
    web.post("/generate_stream", backend.create_handler(stream)),
    *backend.routes(
        PassThroughHandler("/v1/chat/completions", workload_calculator=count_chat, answer_workload=answered)
    ),
    *backend.routes(PassThroughHandler("/info", methods=("GET",), workload=0.0)),
]

if __name__ == "__main__":
    start_server(backend, routes)
