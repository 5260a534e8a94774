# pyright: basic
import asyncio
import os

from vastai.serverless.server.worker import HandlerConfig, LogActionConfig, Worker, WorkerConfig


async def generate(request, model_response):
    from aiohttp import web  # noqa: PLC0415 - as others write

    return web.json_response(await model_response.json(), status=model_response.status)


config = WorkerConfig(
    model_server_url=os.getenv("MODEL_SERVER_URL", "http://127.0.0.1:8000"),
    model_log_file=os.getenv("MODEL_LOG", "/var/log/model.log"),
    handlers=[
        HandlerConfig(
            route="/generate", request_parser=lambda data: {"inputs": data["prompt"]}, response_generator=generate
        )
    ],
    log_action_config=LogActionConfig(on_load=["loaded"]),
)


async def main():
    worker = Worker(config)
    await worker.run_async()


asyncio.run(main())
