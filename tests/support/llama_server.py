"""llama.cpp's own HTTP server with the tiny model, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xllamacpp

from tests.support.tiny_model import write_tiny_model

__all__ = ["llama_server"]

ERRORS_ONLY = 1


@contextlib.contextmanager
def llama_server(folder: Path, *, embeddings: bool = False) -> Iterator[str]:
    """Its address; four requests at once."""
    params = xllamacpp.CommonParams()
    params.model.path = str(write_tiny_model(folder / "tiny.gguf"))
    params.model_alias = {"tiny"}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx, params.cpuparams.n_threads = 4, 8192, 1
    params.cache_ram_mib, params.fit_params, params.ui, params.verbosity = 0, False, False, ERRORS_ONLY
    if embeddings:
        params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server: Any = xllamacpp.Server(params)
    try:
        yield server.listening_address
    finally:
        del server
