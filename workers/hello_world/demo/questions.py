"""Two questions to the model: one answered at once, one token by token."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from pyworker.client import Answer, Client
from pyworker.errors import WorkerUnreachable
from workers.hello_world.data_types import InputData
from workers.hello_world.demo.screen import Screen

__all__ = ["ask"]

QUESTION: Final = "Explain in one sentence what a web server does."
STREAMED_QUESTION: Final = "What is a lighthouse?"


async def ask(client: Client, endpoint: str, screen: Screen) -> None:
    """Ask both, and show what is answered. Raises PyWorkerError."""
    await _ask_for_json(client, endpoint, screen)
    await _ask_for_stream(client, endpoint, screen)


async def _ask_for_json(client: Client, endpoint: str, screen: Screen) -> None:
    screen.question("/generate", QUESTION)
    data = InputData(QUESTION, max_response_tokens=60)
    async with client.call(endpoint, "/generate", asdict(data), cost=data.count_workload()) as answer:
        _require_ok(answer, body := await answer.read())
    message = json.loads(body)
    screen.token(message["response"])
    screen.end_of_answer(message)


async def _ask_for_stream(client: Client, endpoint: str, screen: Screen) -> None:
    screen.question("/generate_stream", STREAMED_QUESTION)
    data = InputData(STREAMED_QUESTION, max_response_tokens=80)
    async with client.call(endpoint, "/generate_stream", asdict(data), cost=data.count_workload()) as answer:
        if not answer.ok:
            _require_ok(answer, await answer.read())
        numbers: dict[str, Any] = {}
        async for line in answer.lines():
            numbers = json.loads(line.removeprefix(b"data: "))
            screen.token(numbers.get("token", ""))
    screen.end_of_answer(numbers)


def _require_ok(answer: Answer, body: bytes) -> None:
    if not answer.ok:
        raise WorkerUnreachable(f"status {answer.status}: {body[:500].decode(errors='replace')}")
