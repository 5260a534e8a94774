"""What differs between the servers that speak OpenAI's API: port, health, the lines of their logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["PRESETS", "Preset", "UnknownServer", "preset"]


@dataclass(frozen=True)
class Preset:
    """One server as it is when started without options.

    ``on_load``, ``on_error`` and ``on_info`` are parts of lines of its log; ``benchmark`` is what its benchmark
    requests hold besides the prompt; ``needs_model`` says that a request has to name a model.
    """

    port: int
    health: str
    on_load: tuple[str, ...]
    on_error: tuple[str, ...]
    on_info: tuple[str, ...] = ()
    benchmark: Mapping[str, Any] = field(default_factory=dict[str, Any])
    needs_model: bool = False


class UnknownServer(ValueError):
    """OPENAI_SERVER names no server that is known here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"OPENAI_SERVER is {name!r}; it takes one of {', '.join(PRESETS)}")


FULL_LENGTH: Final = {"ignore_eos": True}  # every answer as long as it may be, so that rounds are alike

_OF_TORCH: Final = ("torch.OutOfMemoryError", "CUDA out of memory")
_OF_UVICORN: Final = ("error while attempting to bind on address",)

PRESETS: Final = {
    "vllm": Preset(
        port=8000,
        health="/health",
        on_load=("Application startup complete.",),
        on_error=(
            "Engine core initialization failed",
            "EngineDeadError",
            *_OF_TORCH,
            "No available memory for the cache blocks",
            *_OF_UVICORN,
        ),
        on_info=("Starting to load model", "Loading safetensors checkpoint shards", "Loading weights took"),
        benchmark=FULL_LENGTH,
    ),
    "sglang": Preset(
        port=30000,
        health="/health",
        on_load=("The server is fired up and ready to roll!",),
        on_error=(
            "Scheduler hit an exception",
            "Received sigquit from a child process",
            *_OF_TORCH,
            *_OF_UVICORN,
        ),
        on_info=("Load weight begin", "Load weight end", "Capture cuda graph"),
        benchmark=FULL_LENGTH,
    ),
    "llamacpp": Preset(
        port=8080,
        health="/health",
        on_load=("listening on http",),
        on_error=(
            "error loading model",
            "failed to load model",
            "exiting due to model loading error",
            "couldn't bind",
            "CUDA error",
            "out of memory",
        ),
        on_info=("loading model",),
        benchmark=FULL_LENGTH,
    ),
    "ollama": Preset(
        port=11434,
        health="/api/version",
        on_load=("Listening on",),  # the model itself is loaded by the first request: the benchmark's
        on_error=("error loading llama server", "llama runner process has terminated", "address already in use"),
        on_info=("downloading", "starting runner"),
        needs_model=True,
    ),
}


def preset(name: str) -> Preset:
    """The server that OPENAI_SERVER names. Raises UnknownServer, which names all there are."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UnknownServer(name) from None
