"""A GGUF model on llama.cpp, in this process: chat completions, whole or token by token.

llama.cpp brings an HTTP server of its own. It listens on a free loopback port behind a random key, and closing a
connection to it stops that generation and frees its slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import msgspec

__all__ = ["CHAT_ROUTE", "TEMPERATURE", "Answer", "Llama", "LlamaRefused", "ModelNotLoaded", "Token"]

CHAT_ROUTE: Final = "/v1/chat/completions"
SYSTEM_PROMPT: Final = "You are a helpful assistant."
TEMPERATURE: Final = 0.4  # greedy answers of so small a model repeat themselves
WARNINGS: Final = 2  # llama.cpp's verbosity: nothing about single requests
HEALTH_WAIT_S: Final = 2.0


class ModelNotLoaded(Exception):
    """The model cannot be loaded; the message says why."""


class LlamaRefused(Exception):
    """llama.cpp answered with an error: its HTTP status and its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Token(msgspec.Struct):
    """A piece of the answer, as it comes."""

    text: str


class Answer(msgspec.Struct):
    """What a finished generation was. ``text`` is empty when it was streamed."""

    text: str
    prompt_tokens: int  # the chat template's included
    response_tokens: int
    finish_reason: str  # "stop", or "length" when a limit cut it off


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Content(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Content | None = None
    delta: _Content | None = None
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


class _Error(msgspec.Struct):
    message: str = "no reason given"


_decode = msgspec.json.Decoder(_Completion).decode


class Llama:
    """The loaded model. Use as an async context manager; ``close`` unloads it."""

    def __init__(self, model: Path, *, slots: int, context_tokens: int, threads: int) -> None:
        """Load ``model``. Blocks until that is done.

        ``slots`` generations run at once and share ``context_tokens`` equally. Raises ModelNotLoaded.
        """
        self._key = secrets.token_urlsafe()
        self._server: Any = _load(model, slots, context_tokens, threads, self._key)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # a connection for each request: llama.cpp closes idle ones after 5 s, in the moment of their next use too
        self._session = aiohttp.ClientSession(
            self._server.listening_address,
            headers={"Authorization": f"Bearer {self._key}"},
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        self._server = None

    async def healthy(self) -> bool:
        """Whether llama.cpp answers and has its model."""
        try:
            async with asyncio.timeout(HEALTH_WAIT_S), self._http.get("/health") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def generate(self, prompt: str, max_tokens: int) -> Answer:
        """The whole answer. Raises LlamaRefused."""
        async with self._completion(prompt, max_tokens, stream=False) as response:
            completion = _decode(await response.read())
        choice, usage = completion.choices[0], completion.usage or _Usage(0, 0)
        text = (choice.message and choice.message.content) or ""
        return Answer(text, usage.prompt_tokens, usage.completion_tokens, choice.finish_reason or "stop")

    async def stream(self, prompt: str, max_tokens: int) -> AsyncGenerator[Token | Answer]:
        """Each token as it comes, and in the end an Answer. Raises LlamaRefused."""
        finish_reason = ""
        async with self._completion(prompt, max_tokens, stream=True) as response:
            async for line in response.content:
                event = _event(line)
                for choice in event.choices:
                    finish_reason = choice.finish_reason or finish_reason
                    if choice.delta and choice.delta.content:
                        yield Token(choice.delta.content)
                if event.usage:
                    yield Answer("", event.usage.prompt_tokens, event.usage.completion_tokens, finish_reason)
                    return
        raise LlamaRefused(502, "the answer broke off")

    @contextlib.asynccontextmanager
    async def pass_on(self, method: str, path: str, body: bytes = b"") -> AsyncGenerator[aiohttp.ClientResponse]:
        """What llama.cpp answers to this, errors included; leaving it early stops a generation. Raises LlamaRefused."""
        headers = {"Content-Type": "application/json"} if body else None
        try:
            async with self._http.request(method, path, data=body or None, headers=headers) as response:
                yield response
        except aiohttp.ClientError as error:
            raise LlamaRefused(502, f"llama.cpp does not answer: {error}") from None

    @contextlib.asynccontextmanager
    async def _completion(
        self, prompt: str, max_tokens: int, *, stream: bool
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        body = {
            "messages": [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": TEMPERATURE,
            "stream": stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        }
        async with self.pass_on("POST", CHAT_ROUTE, msgspec.json.encode(body)) as response:
            if response.status != 200:
                raise LlamaRefused(response.status, _reason(await response.read()))
            yield response

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Llama as an async context manager")
        return self._session


def _load(model: Path, slots: int, context_tokens: int, threads: int, key: str) -> Any:
    try:
        llama_cpp: Any = importlib.import_module("xllamacpp")
    except ModuleNotFoundError:
        raise ModelNotLoaded("the package xllamacpp is not installed here: run `make setup`") from None
    params = llama_cpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {model.stem}  # what it is called in answers: where it lies concerns nobody
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
    params.n_parallel, params.n_ctx, params.cpuparams.n_threads = slots, context_tokens, threads
    params.n_threads_http = slots + 4  # beside the generations: health, and those just cut off
    params.verbosity = WARNINGS
    params.cache_ram_mib = 0  # remembers past prompts outside the slots: memory that only grows
    params.cache_idle_slots = params.fit_params = params.ui = params.endpoint_slots = False
    try:
        return llama_cpp.Server(params)
    except RuntimeError as error:
        raise ModelNotLoaded(f"{model}: {error}") from None


def _event(line: bytes) -> _Completion:
    """One line of a text/event-stream; anything but a completion is an empty one. Raises LlamaRefused."""
    data = line.removeprefix(b"data: ").strip()
    if not data.startswith(b"{"):
        return _Completion()
    event = _decode(data)
    if event.error:
        raise LlamaRefused(502, event.error.message)
    return event


def _reason(body: bytes) -> str:
    try:
        error = _decode(body).error
    except msgspec.DecodeError:
        error = None
    return (error or _Error()).message
