"""A stand-in for text-generation-inference: ``python -m workers.tgi.stand_in``. It speaks the documented protocol.

It answers with the words of the prompt, one a token. ``inputs`` that begin with ``fail`` make it fail: with 424 before
the first token, or, for ``fail late``, in the middle of a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiohttp import web

from workers.model_process import add_address_options, run
from workers.tgi.parameters import DEFAULT_NEW_TOKENS

__all__ = ["StandIn"]

MAX_INPUT_TOKENS: Final = 4095
FAILURE: Final = {"error": "Request failed during generation: it was asked to", "error_type": "generation"}


class StandIn:
    """A token takes ``token_s``; many requests at once."""

    def __init__(self, token_s: float) -> None:
        self._token_s = token_s

    def app(self) -> web.Application:
        """The HTTP surface."""
        app = web.Application(client_max_size=2 << 20)
        app.add_routes(
            [
                web.post("/generate", self._generate),
                web.post("/generate_stream", self._stream),
                web.post("/v1/chat/completions", self._chat),
                web.get("/health", self._health),
                web.get("/info", self._info),
            ]
        )
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response({"model_id": "stand-in", "max_input_tokens": MAX_INPUT_TOKENS, "version": "3.0.0"})

    async def _generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        if (refusal := _refusal(str(body.get("inputs", "")))) is not None:
            return refusal
        tokens = [token async for token in self._tokens(body["inputs"], body.get("parameters", {}))]
        details = _details(len(tokens)) if body.get("parameters", {}).get("details") else {}
        return web.json_response({"generated_text": "".join(tokens), **({"details": details} if details else {})})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        inputs = str(body.get("inputs", ""))
        if (refusal := _refusal(inputs)) is not None:
            return refusal
        response = await _events(request)
        text, waiting = "", ""
        index = 0
        async for token in self._tokens(inputs, body.get("parameters", {})):
            if index:
                await response.write(_event(_stream_token(index, waiting)))
            if index and inputs.startswith("fail late"):
                await response.write(_event(FAILURE))
                return response
            index, waiting, text = index + 1, token, text + token
        last = {**_stream_token(index, waiting), "generated_text": text, "details": _details(index)}
        await response.write(_event(last))
        return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("messages"):
            return web.json_response({"error": "messages is empty", "error_type": "validation"}, status=422)
        parameters = {"max_new_tokens": body.get("max_tokens") or DEFAULT_NEW_TOKENS}
        tokens = self._tokens(str(body["messages"][-1].get("content")), parameters)
        head = {"id": "", "created": int(time.time()), "model": "stand-in", "system_fingerprint": "3.0.0-native"}
        if not body.get("stream"):
            said = [token async for token in tokens]
            message = {"role": "assistant", "content": "".join(said)}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}
            usage = {"prompt_tokens": 1, "completion_tokens": len(said), "total_tokens": 1 + len(said)}
            return web.json_response({"object": "chat.completion", **head, "choices": [choice], "usage": usage})
        response = await _events(request)
        async for token in tokens:
            choice = {"index": 0, "delta": {"role": "assistant", "content": token}, "finish_reason": None}
            await response.write(_event({"object": "chat.completion.chunk", **head, "choices": [choice]}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _tokens(self, text: str, parameters: dict[str, Any]) -> AsyncIterator[str]:
        words = text.split() or ["?"]
        for number in range(parameters.get("max_new_tokens") or DEFAULT_NEW_TOKENS):
            await asyncio.sleep(self._token_s)
            yield f" {words[number % len(words)]}"


def _refusal(inputs: str) -> web.Response | None:
    if inputs.startswith("fail") and not inputs.startswith("fail late"):
        return web.json_response(FAILURE, status=424)
    tokens = len(inputs.split())
    if not 0 < tokens <= MAX_INPUT_TOKENS:
        error = f"Input validation error: `inputs` must have less than {MAX_INPUT_TOKENS} tokens. Given: {tokens}"
        return web.json_response({"error": error, "error_type": "validation"}, status=422)
    return None


def _stream_token(index: int, text: str) -> dict[str, Any]:
    token = {"id": index, "text": text, "logprob": -0.1, "special": False}
    return {"index": index, "token": token, "generated_text": None, "details": None}


def _details(tokens: int) -> dict[str, Any]:
    return {"finish_reason": "length", "generated_tokens": tokens, "seed": None, "prefill": [], "tokens": []}


async def _events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    return response


def _event(data: dict[str, Any]) -> bytes:
    return b"data:" + json.dumps(data).encode() + b"\n\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers.tgi.stand_in", description="a stand-in for TGI")
    add_address_options(parser, port=5001)
    parser.add_argument("--token-s", type=float, default=0.002, metavar="S", help="s a token (default: %(default)s)")
    options = parser.parse_args(arguments)
    return run(lambda: StandIn(options.token_s).app(), options, lambda url: f"text_generation_router: Connected {url}")


if __name__ == "__main__":
    sys.exit(main())
