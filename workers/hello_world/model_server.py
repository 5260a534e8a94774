"""The LLM server that the worker stands before: ``python -m workers.hello_world.model_server``.

``POST /generate`` answers with JSON, ``POST /generate_stream`` with an event for each token; both take
``{"prompt": str, "max_response_tokens": int | null}``. Besides, it speaks OpenAI's API: ``POST /v1/chat/completions``,
whole or as events, and ``GET /v1/models``. ``GET /healthcheck`` says whether the model answers.

The port opens, and the log says ``infer server has started``, when the model is loaded. A model that cannot be loaded
is ``Exception: corrupted model file`` in the log and exit status 1, a port that is taken is ``cannot start the model
server``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from workers.hello_world.llama import Llama, ModelNotLoaded
from workers.hello_world.model_routes import ModelRoutes
from workers.hello_world.server_log import ServerLog
from workers.hello_world.weights import ModelNotInstalled, installed_model
from workers.model_process import add_address_options, bind, serve

CANNOT_LOAD = "Exception: corrupted model file"
CANNOT_START = "cannot start the model server"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        log = ServerLog(options.log)
    except OSError as error:
        parser.exit(1, f"{CANNOT_START}: {error}\n")
    try:
        listener = bind(options.host, options.port)
    except OSError as error:
        log.error(f"{CANNOT_START}: {error}")
        log.tell(f"{CANNOT_START} on {options.host}:{options.port}: {error}")
        return 1
    try:
        model: Path = options.model or installed_model()
        log.info("loading the model", model=str(model))
        llama = Llama(model, slots=options.parallel, context_tokens=options.context, threads=options.threads)
    except (ModelNotInstalled, ModelNotLoaded) as error:
        log.error(f"{CANNOT_LOAD}: {error}")
        log.tell(f"cannot load the model: {error}")
        return 1
    asyncio.run(_serve(llama, listener, options.parallel, log))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.hello_world.model_server", description="an LLM server")
    add_address_options(parser, port=5001)
    parser.add_argument("--log", type=Path, metavar="FILE", help="log file, begun anew (default: stdout)")
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: SmolLM2 as installed)")
    parser.add_argument("--parallel", type=_positive, default=4, metavar="N", help="generations at once (default: 4)")
    parser.add_argument(
        "--context", type=_positive, default=8192, metavar="TOKENS", help="shared by those (default: 8192)"
    )
    spare_cpus = max(1, (os.cpu_count() or 1) - 1)  # threads that wait for one another need a CPU each
    parser.add_argument("--threads", type=_positive, default=spare_cpus, metavar="N", help="default: CPUs less one")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


async def _serve(llama: Llama, listener: socket.socket, slots: int, log: ServerLog) -> None:
    def started(url: str) -> None:
        log.info("infer server has started", url=url)
        log.tell(f"the model answers on {url}")

    async with llama:
        await serve(ModelRoutes(llama, slots, log).app(), listener, started)
    log.info("infer server has stopped")


if __name__ == "__main__":
    sys.exit(main())
