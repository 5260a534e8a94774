"""What differs between the model servers that a new worker may stand before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["SERVERS", "Server"]


@dataclass(frozen=True)
class Server:
    """One model server: where it listens, what it logs, what it is asked.

    ``fields`` are the payload's, as ``(name, type, default, what for_test gives)``, "" for no default. ``count``:
    lines of Python for the workload, the payload's fields as ``{name}``. ``command`` starts it (deployment.toml), None
    where that is for the author to say.
    """

    title: str
    port: int
    routes: tuple[str, ...]
    health: str
    loaded: str
    error: str
    fields: tuple[tuple[str, str, str, str], ...]
    unit: str
    count: tuple[str, ...]
    answer: str
    parallel: bool = True
    command: tuple[str, ...] | None = None
    gpus: int = 1


TOKENS: Final = "tokens: a quarter of the prompt's characters, and what the answer may have"

SERVERS: Final = {
    "openai": Server(
        title="a model server with the OpenAI API: vLLM, SGLang, llama.cpp",
        port=8000,
        routes=("/v1/chat/completions",),
        health="/health",
        loaded="Application startup complete.",
        error="CUDA out of memory",
        fields=(
            ("model", "str", "", "MODEL"),
            ("messages", "list[dict[str, Any]]", "", '[{"role": "user", "content": words(200)}]'),
            ("max_tokens", "int", "256", "64"),
            ("stream", "bool", "False", "False"),
        ),
        unit=TOKENS,
        count=(
            'prompt = "".join(str(message.get("content")) for message in {messages})',
            "return len(prompt) / 4 + {max_tokens}",
        ),
        answer='{"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}',
        command=("vllm", "serve", "Qwen/Qwen3-8B", "--port", "{model_port}"),
    ),
    "tgi": Server(
        title="text-generation-inference",
        port=8080,
        routes=("/generate", "/generate_stream"),
        health="/health",
        loaded='"message":"Connected"',
        error="ShardCannotStart",
        fields=(
            ("inputs", "str", "", "words(200)"),
            (
                "parameters",
                "dict[str, Any]",
                "dataclasses.field(default_factory=dict[str, Any])",
                '{"max_new_tokens": 64}',
            ),
        ),
        unit=TOKENS,
        count=('return len({inputs}) / 4 + float({parameters}.get("max_new_tokens", 100))',),
        answer='{"generated_text": "Hello."}',
        command=("text-generation-launcher", "--model-id", "Qwen/Qwen3-8B", "--port", "{model_port}", "--json-output"),
    ),
    "comfyui": Server(
        title="ComfyUI behind its JSON wrapper",
        port=18288,
        routes=("/generate/sync",),
        health="/health",
        loaded="To see the GUI go to: ",
        error="MetadataIncompleteBuffer",
        fields=(
            (
                "input",
                "dict[str, Any]",
                "",
                """{
    "modifier": "Text2Image",
    "modifications": {
        "prompt": words(12),
        "width": 512,
        "height": 512,
        "steps": 20,
        "seed": random.randrange(10**9),
    },
}""",
            ),
        ),
        unit="megapixels times steps",
        count=('job = {input}["modifications"]', 'return float(job["width"] * job["height"] * job["steps"] / 1e6)'),
        answer='{"status": "completed", "images": []}',
        parallel=False,
    ),
    "custom": Server(
        title="a model server of your own",
        port=5001,
        routes=("/generate",),
        health="/health",
        loaded="server is ready",
        error="Traceback (most recent call last)",
        fields=(("prompt", "str", "", "words(200)"), ("max_tokens", "int", "256", "64")),
        unit=TOKENS,
        count=("return len({prompt}) / 4 + {max_tokens}",),
        answer='{"text": "Hello."}',
        gpus=0,
    ),
}
