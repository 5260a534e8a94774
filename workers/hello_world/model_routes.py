"""The model server's HTTP surface: requests checked, answers as JSON or as an event stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Any, Final, cast

import msgspec
from aiohttp import ClientPayloadError, ClientResponse, web

from workers.hello_world.llama import CHAT_ROUTE, TEMPERATURE, Answer, Llama, LlamaRefused, Token
from workers.hello_world.server_log import ServerLog

__all__ = ["ModelRoutes"]

DEFAULT_RESPONSE_TOKENS: Final = 512  # when max_response_tokens is null
MAX_BODY_BYTES: Final = 1 << 20
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "n_predict")


class _Request(msgspec.Struct):
    prompt: Annotated[str, msgspec.Meta(min_length=1)]
    max_response_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


class ModelRoutes:
    """Lets ``slots`` generations run; the others wait here, where it is seen at once when their client leaves."""

    def __init__(self, llama: Llama, slots: int, log: ServerLog) -> None:
        self._llama = llama
        self._slots = slots
        self._free = asyncio.Semaphore(slots)
        self._working = 0
        self._waiting = 0
        self._log = log

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.post("/generate", self.generate),
                web.post("/generate_stream", self.generate_stream),
                web.post(CHAT_ROUTE, self.chat),
                web.get("/v1/models", self.models),
                web.get("/healthcheck", self.healthcheck),
            ]
        )
        return app

    async def generate(self, request: web.Request) -> web.Response:
        """``{"response", "prompt_tokens", "response_tokens", "finish_reason"}``."""
        asked = await _read(request)
        async with self._slot():
            begin_s = time.monotonic()
            answer = await self._llama.generate(asked.prompt, _limit(asked))
        self._log_answer("generate", answer, begin_s)
        return _json({"response": answer.text, **_numbers(answer)})

    async def generate_stream(self, request: web.Request) -> web.StreamResponse:
        """An event ``{"token"}`` for each token, then one ``{"finish_reason", "prompt_tokens", "response_tokens"}``."""
        asked = await _read(request)
        async with self._slot(), contextlib.aclosing(self._llama.stream(asked.prompt, _limit(asked))) as events:
            begin_s = time.monotonic()
            event = await anext(events)  # what llama.cpp refuses is answered with a status, not in the stream
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
            await response.prepare(request)
            try:
                while isinstance(event, Token):
                    await response.write(_event({"token": event.text}))
                    event = await anext(events)
            except LlamaRefused as error:
                self._log.error("generation failed", reason=str(error))
                _cut_off(request)
                return response
        self._log_answer("generate_stream", event, begin_s)
        await response.write(_event(_numbers(event)))
        await response.write_eof()
        return response

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """OpenAI's chat completions, as llama.cpp answers them: JSON, or a stream of events."""
        body = _with_defaults(await request.read())
        async with self._slot(), self._llama.pass_on("POST", CHAT_ROUTE, body) as answer:
            begin_s = time.monotonic()
            if answer.content_type == "text/event-stream":
                response = await self._relay(request, answer)
            else:
                response = web.Response(
                    body=await answer.read(), status=answer.status, content_type=answer.content_type
                )
        self._log.info("chat", status=answer.status, work_s=round(time.monotonic() - begin_s, 3))
        return response

    async def _relay(self, request: web.Request, answer: ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Cache-Control": "no-cache"})
        response.content_type = answer.content_type
        await response.prepare(request)
        try:
            async for piece in answer.content.iter_any():
                await response.write(piece)
        except ClientPayloadError as error:
            self._log.error("generation failed", reason=str(error))
            _cut_off(request)
            return response
        except ConnectionError:
            return response  # its client has left
        await response.write_eof()
        return response

    async def models(self, _: web.Request) -> web.Response:
        """The model's name, as OpenAI's API lists models."""
        async with self._llama.pass_on("GET", "/v1/models") as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    async def healthcheck(self, _: web.Request) -> web.Response:
        """200 when the model answers, 503 when not; and how busy it is."""
        healthy = await self._llama.healthy()
        state = {"status": "ok" if healthy else "the model does not answer"}
        load = {"slots": self._slots, "working": self._working, "waiting": self._waiting}
        return _json({**state, **load}, 200 if healthy else 503)

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            self._free.release()

    def _log_answer(self, route: str, answer: Answer, begin_s: float) -> None:
        self._log.info(route, **_numbers(answer), work_s=round(time.monotonic() - begin_s, 3))


async def _read(request: web.Request) -> _Request:
    try:
        return _decode(await request.read())
    except msgspec.ValidationError as error:
        raise web.HTTPUnprocessableEntity(reason=str(error).replace("`", "'")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise web.HTTPBadRequest(reason="the body is not JSON") from None


def _with_defaults(body: bytes) -> bytes:
    """A chat's request, with our limit to the answer and temperature where it has none."""
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise web.HTTPBadRequest(reason="the body is not JSON") from None
    if not isinstance(asked, dict):
        raise web.HTTPUnprocessableEntity(reason="the body is no JSON object")
    chosen = cast("dict[str, Any]", asked)
    if all(chosen.get(name) is None for name in _LIMITS):
        chosen["max_tokens"] = DEFAULT_RESPONSE_TOKENS
    if chosen.get("temperature") is None:
        chosen["temperature"] = TEMPERATURE
    return _encode(chosen)


def _limit(asked: _Request) -> int:
    return asked.max_response_tokens or DEFAULT_RESPONSE_TOKENS


def _numbers(answer: Answer) -> dict[str, Any]:
    return {
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "response_tokens": answer.response_tokens,
    }


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=_encode(body), status=status, content_type="application/json")


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + _encode(data) + b"\n\n"


def _cut_off(request: web.Request) -> None:
    """Close without the end of the body, so that the client does not take what it has for the whole answer."""
    if request.transport is not None:
        request.transport.close()


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return web.json_response({"error": error.reason}, status=error.status, headers=allow)
    except LlamaRefused as error:
        return _json({"error": error.reason}, error.status)
