# pyright: basic
import json
import os

from aiohttp import web

from lib.backend import Backend, LogAction
from lib.metrics import Metrics, get_url
from lib.server import start_server
from lib.test_utils import print_truncate_res, test_args, test_load_cmd
from utils.endpoint_util import Endpoint
from utils.ssl import get_cert_file_path
from workers.older.data_types import Handler

assert all((Metrics, get_url, print_truncate_res, test_args, test_load_cmd, Endpoint, get_cert_file_path))


class GenerateHandler(Handler):
    @property
    def endpoint(self):
        return "/generate"

    @property
    def healthcheck_endpoint(self):
        return None

    async def generate_client_response(self, client_request, model_response):
        answer = web.StreamResponse()
        await answer.prepare(client_request)
        async for chunk in model_response.content.iter_any():
            await answer.write(chunk)
        await answer.write_eof()
        return answer


backend = Backend(
    model_server_url=os.environ["MODEL_SERVER_URL"],
    model_log_file=os.environ["MODEL_LOG"],
    allow_parallel_requests=False,
    benchmark_handler=GenerateHandler(benchmark_runs=1, benchmark_words=10),
    log_actions=[(LogAction.ModelLoaded, "loaded"), (LogAction.Info, json.dumps({"message": "Download"})[1:12])],
)


async def ping(request):
    return web.Response(body="pong")


start_server(
    backend,
    [web.post("/generate", backend.create_handler(GenerateHandler())), web.get("/ping", ping)],
)
