"""The route of a handler written by subclass: JSON decoded to its payload, its author makes the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from pyworker.api import ApiPayload, EndpointHandler, request_data
from pyworker.errors import (
    BenchmarkFailed,
    HandlerFailed,
    JsonDataException,
    ModelFailed,
    ModelUnreachable,
    UnsupportedMedia,
)
from pyworker.fields import MISSING_PARAMETER
from pyworker.headers import authored_request_headers
from pyworker.wire import decode_object, dump, parse_envelope
from pyworker.worker.author_answers import answered_by
from pyworker.worker.author_faults import AUTHOR_ERRORS
from pyworker.worker.core.benchmark import Plan
from pyworker.worker.core.ledger import Lane
from pyworker.worker.inbound.incoming import AiohttpIncoming, Incoming
from pyworker.worker.model import multipart
from pyworker.worker.model.connection import RawHeaders
from pyworker.worker.model.response import ModelResponse, ResponseAnswer
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.routes import Call, Probe, ReadBody, Route, payload_object

__all__ = ["AuthoredRoute"]

log = logging.getLogger("pyworker.handler")

_IS_500 = "the request is answered with a 500"


class AuthoredRoute(Route):
    """A handler written by subclass: JSON decoded to its payload, its author makes the answer."""

    def __init__(self, handler: EndpointHandler[Any], lane: Lane, max_wait_s: float | None, model: ModelServer) -> None:
        super().__init__(handler.endpoint, lane, max_wait_s)
        self.handler = handler
        self._model = model
        self._payload_cls = cast("type[ApiPayload]", handler.payload_cls())

    def parse_envelope(self, body: bytes | memoryview) -> Call:
        if not self.handler.parses_requests_itself:
            return self._parse_usual(body)
        message = decode_object(body)
        _require_parts(message)
        parts = self._by_author(self.handler.get_data_from_request, message)
        auth_data, payload, session_id = (*parts, message.get("session_id")) if len(parts) == 2 else parts
        return Call(auth_data, session_id, payload)

    def _parse_usual(self, body: bytes | memoryview) -> Call:
        envelope = parse_envelope(body)
        if envelope is not None:
            payload = payload_object(envelope.payload)
            return Call(envelope.auth_data, envelope.session_id, self._payload(payload, inside="payload"))
        parts = self._by_author(partial(request_data, payload_cls=self._payload_cls), decode_object(body))
        return Call(parts[0], parts[2] if len(parts) == 3 else None, parts[1])

    async def read_plain(self, request: Incoming, read: ReadBody) -> Call:
        if not request.has_body:
            return Call(None, None, self._payload(dict(parse_qsl(request.query))))
        if (request.header("Content-Type") or "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMedia()
        return Call(None, None, self._payload(decode_object(await read())))

    def _payload(self, message: dict[str, Any], inside: str | None = None) -> ApiPayload:
        try:
            return self._by_author(self._payload_cls.from_json_msg, message)
        except JsonDataException as error:
            if inside is None:
                raise
            raise JsonDataException({inside: error.message}) from None

    def _by_author(self, parse: Callable[[dict[str, Any]], Any], message: dict[str, Any]) -> Any:
        try:
            return parse(message)
        except AUTHOR_ERRORS as error:
            raise self.faults.of_reader(f"reading of a request for {self.endpoint}", error) from None

    @property
    def counted_by(self) -> str:
        return f"{self._payload_cls.__name__}.count_workload"

    @property
    def shows_request(self) -> bool:
        return not self.handler.is_remote

    def count_workload(self, call: Call) -> Any:
        return call.payload.count_workload()

    async def exchange(self, request: Incoming, call: Call) -> bool:
        assert isinstance(request, AiohttpIncoming)  # the fast lane has pass-through routes only
        if self.handler.is_remote:
            request.response = await self._call_function(call)
            return True
        headers = authored_request_headers(request.raw_headers)
        async with await self.send(request.method, call.target, call.take_payload(), headers) as model_response:
            call.on_head()
            name = f"generate_client_response of {self.endpoint}"
            return await answered_by(self.handler.generate_client_response, request, model_response, name, self.faults)

    async def send(self, method: str, target: str, payload: ApiPayload, headers: RawHeaders = ()) -> ModelResponse:
        """The payload to the model server, as JSON or as a form.

        Raises ModelUnreachable, ModelFailed, HandlerFailed.
        """
        try:
            content_type, body = await multipart.encoded_payload(payload, self.handler.generate_payload_json)
        except AUTHOR_ERRORS as error:
            self.faults.tell(f"making of the model's request for {self.endpoint}", error, _IS_500)
            raise HandlerFailed() from None
        del payload  # it may be large, and the answer far away
        all_headers = (*headers, (b"Content-Type", content_type))
        answer = await self._model.send_for(ResponseAnswer, method, target, all_headers, (body,))
        return ModelResponse(method, self._model.url(target), answer)

    async def _call_function(self, call: Call) -> web.Response:
        try:
            result = await self.handler.call_remote_dispatch_function(self.handler.generate_payload_json(call.payload))
            body = dump({"result": result})
        except AUTHOR_ERRORS as error:
            self.faults.tell(f"remote function of {self.endpoint}", error, _IS_500)
            raise HandlerFailed() from None
        return web.Response(body=body, content_type="application/json")

    @property
    def plan(self) -> Plan | None:
        handler = self.handler
        if not handler.has_benchmark:
            return None
        return Plan(handler.benchmark_runs, self.at_once(handler.concurrency), handler.do_warmup_benchmark)

    @property
    def sources(self) -> list[object]:
        return [self.handler, type(self.handler), self._payload_cls, self.handler.remote_function]

    async def probe(self) -> Probe:
        workload, payload = await asyncio.to_thread(self._make_benchmark_payload)
        try:
            if self.handler.is_remote:
                await self._call_function(Call(None, None, payload))
                return Probe(workload)
            async with await self.send("POST", self.endpoint, payload) as model_response:
                await model_response.read()
        except (aiohttp.ClientError, ModelUnreachable, ModelFailed, HandlerFailed) as error:
            return Probe(0.0, str(error) or type(error).__name__)
        status = model_response.status
        return Probe(workload, "" if 200 <= status < 300 else f"the model server answered {status}")

    def _make_benchmark_payload(self) -> tuple[float, ApiPayload]:
        name = type(self.handler).__name__
        try:
            payload: ApiPayload = self.handler.make_benchmark_payload()
            return float(payload.count_workload()), payload
        except AUTHOR_ERRORS as error:
            log.exception("%s.make_benchmark_payload failed", name)
            raise BenchmarkFailed(f"{name}.make_benchmark_payload raised {type(error).__name__}: {error}") from None


def _require_parts(message: dict[str, Any]) -> None:
    """An author's parser may count on auth_data and payload being there. Raises JsonDataException."""
    parts = {name: message.get(name) for name in ("auth_data", "payload")}
    problems = {
        name: MISSING_PARAMETER if part is None else "expected object"
        for name, part in parts.items()
        if not isinstance(part, dict)
    }
    if not isinstance(message.get("session_id"), str | None):
        problems["session_id"] = "expected string"
    if problems:
        raise JsonDataException(problems)
