"""OpenAI's API on the worker: chats, passed through to the model and counted as ``/generate`` is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from pyworker.handlers import PassThroughHandler
from workers.hello_world.prompt_tokens import count_tokens

__all__ = ["HANDLERS", "chat_tokens"]


def chat_tokens(payload: dict[str, Any]) -> float:
    """The tokens of all messages' texts. Whatever a client sends: what is wrong with it the model server says."""
    return sum(count_tokens(text) for text in _texts(payload.get("messages")))


def _texts(messages: Any) -> Iterator[str]:
    for message in _objects(messages):
        content = message.get("content")
        if isinstance(content, str):
            yield content
        for part in _objects(content):
            if isinstance(text := part.get("text"), str):
                yield text


def _objects(value: Any) -> list[dict[str, Any]]:
    found = cast("list[Any]", value) if isinstance(value, list) else []
    return [each for each in found if isinstance(each, dict)]


HANDLERS: Final = (
    PassThroughHandler("/v1/chat/completions", workload_calculator=chat_tokens),
    PassThroughHandler("/v1/models", methods=("GET",), workload=0.0, allow_parallel_requests=True),
)
