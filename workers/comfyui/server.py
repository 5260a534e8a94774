"""The worker that stands before ComfyUI: ``python -m workers.comfyui.server``."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from lib.backend import Backend
from lib.data_types import LogAction
from lib.server import start_server
from workers.comfyui.abandoned import Abandoned
from workers.comfyui.comfy import Comfy
from workers.comfyui.handlers import (
    CustomWorkflowHandler,
    PromptHandler,
    Services,
    WrapperHandler,
    WrapperStreamHandler,
    measure,
)
from workers.comfyui.settings import settings
from workers.comfyui.tellers import WrapperTeller
from workers.comfyui.webhooks import Webhooks

comfy = Comfy(lambda: backend.session)
services = Services(comfy, Webhooks(), Abandoned(comfy))


async def run_once(prompt: dict[str, Any], client_id: str) -> None:
    """What the benchmark does instead of a request that is answered at once."""
    await measure(comfy, prompt, client_id)


backend = Backend(
    model_server_url=settings().model_url,
    model_log_file=settings().model_log,
    allow_parallel_requests=False,  # ComfyUI does one prompt after the other
    benchmark_handler=PromptHandler(services=services, remote_function=run_once, benchmark_runs=3),
    log_actions=[
        (LogAction.ModelLoaded, "To see the GUI go to: "),
        (LogAction.ModelError, "MetadataIncompleteBuffer"),
        (LogAction.ModelError, "CUDA error: "),
        (LogAction.Info, "Downloading: "),
    ],
)

routes = [
    web.post("/prompt", backend.create_handler(PromptHandler(services=services))),
    web.post("/custom-workflow", backend.create_handler(CustomWorkflowHandler(services=services))),
    web.post("/generate/sync", backend.create_handler(WrapperHandler(services=services, teller=WrapperTeller))),
    web.post("/generate/stream", backend.create_handler(WrapperStreamHandler(services=services, teller=WrapperTeller))),
]

if __name__ == "__main__":
    start_server(backend, routes)
