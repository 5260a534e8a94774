"""The worker that stands before the image model: ``python -m workers.image.server``.

Two routes to the same one of the model. ``/stylize`` takes the form itself, its proof in the header ``X-Auth-Data``,
and nothing of it is held or looked at. ``/stylize/json`` takes the usual envelope with the image in base64.
"""

from __future__ import annotations

import dataclasses
import os

from aiohttp import ClientResponse, web

from lib.backend import Backend
from lib.data_types import EndpointHandler, LogAction
from lib.server import start_server
from pyworker.answers import pass_on
from pyworker.handlers import PassThroughHandler
from workers.image.data_types import WORKLOAD_OF_A_MEGAPIXEL, StylizeData

MODEL_SERVER_URL = os.environ.get("MODEL_SERVER_URL", "http://127.0.0.1:5002")
MODEL_LOG = os.environ.get("MODEL_LOG")

MODEL_ROUTE = "/stylize"
USUAL_MEGAPIXELS = 0.79  # 4:3 at the default max_size of 1024: what passes through is not looked at


@dataclasses.dataclass
class StylizeHandler(EndpointHandler[StylizeData]):
    """JSON in, PNG out."""

    @property
    def endpoint(self) -> str:
        """The route on the model's API."""
        return MODEL_ROUTE

    @property
    def healthcheck_endpoint(self) -> str:
        """Where the model server says that it is well."""
        return "/health"

    @classmethod
    def payload_cls(cls) -> type[StylizeData]:
        """What a request to this route holds."""
        return StylizeData

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.StreamResponse:
        """The image, or what the model has against the request."""
        return await pass_on(client_request, model_response)


backend = Backend(
    model_server_url=MODEL_SERVER_URL,
    model_log_file=MODEL_LOG,
    allow_parallel_requests=False,
    benchmark_handler=StylizeHandler(benchmark_runs=4),
    log_actions=[
        (LogAction.ModelLoaded, "the image model answers on"),
        (LogAction.ModelError, "cannot start the model server"),
    ],
)

binary = PassThroughHandler(
    MODEL_ROUTE,
    workload=WORKLOAD_OF_A_MEGAPIXEL * USUAL_MEGAPIXELS,
    max_concurrency=4,  # a body streams through, and a client that sends it slowly must not keep the others waiting
)

routes = [
    *backend.routes(binary),
    web.post("/stylize/json", backend.create_handler(StylizeHandler())),
]

if __name__ == "__main__":
    start_server(backend, routes)
