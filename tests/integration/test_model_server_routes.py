"""The model server's routes when llama.cpp fails: nothing half done looks whole."""
# ruff: noqa: ARG002 - a stand-in takes what it need not look at

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from workers.hello_world.llama import Answer, Llama, LlamaRefused, Token
from workers.hello_world.model_routes import ModelRoutes
from workers.hello_world.server_log import ServerLog

ASKED = {"prompt": "xyzzy", "max_response_tokens": None}


class FailingLlama(Llama):
    """Says ``words`` and fails."""

    def __init__(self, *words: str) -> None:
        self._words = words

    async def healthy(self) -> bool:
        return False

    async def generate(self, prompt: str, max_tokens: int) -> Answer:
        raise LlamaRefused(502, "out of order")

    async def stream(self, prompt: str, max_tokens: int) -> AsyncGenerator[Token | Answer]:
        for word in self._words:
            yield Token(word)
        raise LlamaRefused(502, "out of order")


@asynccontextmanager
async def serving(llama: FailingLlama) -> AsyncIterator[aiohttp.ClientSession]:
    runner = web.AppRunner(ModelRoutes(llama, 1, ServerLog(None)).app(), handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession(site.name) as http:
            yield http
    finally:
        await runner.cleanup()


async def test_a_stream_that_breaks_off_does_not_end_cleanly() -> None:
    async with serving(FailingLlama("one", "two")) as http, http.post("/generate_stream", json=ASKED) as response:
        assert response.status == 200
        assert await response.content.readline() == b'data: {"token":"one"}\n'
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize("route", ["/generate", "/generate_stream"])
async def test_a_failure_before_the_first_token_has_its_status_and_frees_the_slot(route: str) -> None:
    async with serving(FailingLlama()) as http:
        for _ in range(2):
            async with http.post(route, json=ASKED) as response:
                assert (response.status, await response.json()) == (502, {"error": "out of order"})


async def test_the_healthcheck_says_when_the_model_does_not_answer() -> None:
    async with serving(FailingLlama()) as http, http.get("/healthcheck") as response:
        assert response.status == 503
        assert (await response.json())["status"] == "the model does not answer"


async def test_the_log_of_a_failure_does_not_hold_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(FailingLlama("one")) as http, http.post("/generate_stream", json=ASKED) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    printed = capsys.readouterr().out
    assert "out of order" in printed
    assert "xyzzy" not in printed
