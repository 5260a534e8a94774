"""Handlers as authors write them, for workers in the test's own process."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Self

from aiohttp import ClientResponse, web

from pyworker import ApiPayload, EndpointHandler, PassThroughHandler
from pyworker.handlers import DeclaredHandler

__all__ = [
    "Generate",
    "GenerateStream",
    "Prompt",
    "answered_generate",
    "answered_stream",
    "parsed_generate",
    "pass_generate",
    "pass_stream",
    "payload",
    "requested_tokens",
]

_numbers = itertools.count(1)


def payload(prompt: str = "Why?", tokens: int = 10) -> dict[str, Any]:
    """What a client sends to any of these handlers."""
    return {"prompt": prompt, "max_response_tokens": tokens}


def requested_tokens(payload: dict[str, Any]) -> float:
    """The workload of a payload: the tokens it asks for."""
    return float(payload["max_response_tokens"])


def pass_generate(**given: Any) -> PassThroughHandler:
    """``/generate``, passed through."""
    return PassThroughHandler("/generate", workload_calculator=requested_tokens, **given)


def pass_stream(**given: Any) -> PassThroughHandler:
    """``/generate_stream``, passed through."""
    return PassThroughHandler("/generate_stream", workload_calculator=requested_tokens, **given)


@dataclasses.dataclass
class Prompt(ApiPayload):
    """A prompt; its workload is the tokens it asks for."""

    prompt: str
    max_response_tokens: int = 10

    @classmethod
    def for_test(cls) -> Self:
        return cls(prompt=f"benchmark prompt {next(_numbers)}")

    def count_workload(self) -> float:
        return float(self.max_response_tokens)


@dataclasses.dataclass
class Generate(EndpointHandler[Prompt]):
    """Decodes the model's JSON and encodes it again."""

    route: str = "/generate"
    health: str | None = None

    @property
    def endpoint(self) -> str:
        return self.route

    @property
    def healthcheck_endpoint(self) -> str | None:
        return self.health

    @classmethod
    def payload_cls(cls) -> type[Prompt]:
        return Prompt

    async def generate_client_response(
        self,
        client_request: web.Request,  # noqa: ARG002 - the contract
        model_response: ClientResponse,
    ) -> web.Response | web.StreamResponse:
        if model_response.status != 200:
            return web.Response(status=model_response.status, body=await model_response.read())
        return web.json_response(await model_response.json())


@dataclasses.dataclass
class GenerateStream(Generate):
    """Writes each piece as it comes."""

    route: str = "/generate_stream"

    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.Response | web.StreamResponse:
        response = web.StreamResponse(status=model_response.status)
        response.content_type = "text/event-stream"
        await response.prepare(client_request)
        async for piece in model_response.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


def parsed_generate(**given: Any) -> DeclaredHandler:
    """``/generate`` by declaration, with a parser: decoded and encoded again, and on the fast lane."""
    return DeclaredHandler("/generate", request_parser=dict, workload_calculator=requested_tokens, **given)


def answered_generate(**given: Any) -> DeclaredHandler:
    """``/generate`` by declaration, with a generator that makes the answer."""
    return DeclaredHandler("/generate", workload_calculator=requested_tokens, response_generator=_answer, **given)


def answered_stream(**given: Any) -> DeclaredHandler:
    """``/generate_stream`` by declaration, with a generator that passes each piece on."""
    return DeclaredHandler(
        "/generate_stream", workload_calculator=requested_tokens, response_generator=_stream, **given
    )


async def _answer(request: web.Request, response: ClientResponse) -> web.Response | web.StreamResponse:
    return await Generate().generate_client_response(request, response)


async def _stream(request: web.Request, response: ClientResponse) -> web.Response | web.StreamResponse:
    return await GenerateStream().generate_client_response(request, response)
