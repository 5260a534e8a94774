"""The route of a HandlerConfig: passes through, with its author's functions in between where there are any."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import methodcaller
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec

from pyworker.api import ApiPayload
from pyworker.errors import (
    BenchmarkFailed,
    HandlerFailed,
    InvalidJson,
    JsonDataException,
    ModelFailed,
    ModelUnreachable,
    QueueFull,
    UnsupportedMedia,
)
from pyworker.handlers import DeclaredHandler
from pyworker.headers import (
    authored_request_headers,
    query_without_key,
    readable_request_headers,
    rewritten_request_headers,
)
from pyworker.wire import decode_object, dump
from pyworker.worker.author_answers import answered_by
from pyworker.worker.author_code import AuthorFunction, in_thread, is_async, place_of
from pyworker.worker.author_faults import AUTHOR_ERRORS
from pyworker.worker.core.ledger import Lane
from pyworker.worker.inbound.incoming import AiohttpIncoming, Incoming
from pyworker.worker.keywords import Keywords
from pyworker.worker.model import multipart
from pyworker.worker.model.connection import Body, RawHeaders
from pyworker.worker.model.response import ModelResponse, ResponseAnswer
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.pass_through import PassThroughRoute, target_with_query
from pyworker.worker.routes import Call, Probe, ReadBody, payload_object

__all__ = ["DeclaredRoute"]

log = logging.getLogger("pyworker.handler")

_IS_500 = "the request is answered with a 500"
_JSON = b"application/json"


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What the model gets, and what it is."""

    content_type: bytes
    body: bytes

    @property
    def header(self) -> tuple[bytes, bytes]:
        """The one that says so."""
        return b"Content-Type", self.content_type


class DeclaredRoute(PassThroughRoute):
    """Parser, payload class and calculator are asked when a request was let in and before it is admitted."""

    def __init__(self, handler: DeclaredHandler, lane: Lane, max_wait_s: float | None, model: ModelServer) -> None:
        counts = None if handler.workload_calculator is None else self._count_now
        super().__init__(replace(handler, workload_calculator=counts), lane, max_wait_s, model)
        self._declared = handler
        self._making = asyncio.Lock()  # of benchmark payloads, one at a time
        self._parser = self._function(handler.request_parser, "request_parser")
        self._calculator = self._function(handler.workload_calculator, "workload_calculator")
        payload_class = handler.payload_class
        self._reader = self._function(payload_class.from_json_msg if payload_class else None, "payload_class")
        self._keywords = Keywords(handler.remote_function) if handler.remote_function else None
        self._reads_payloads = bool(self._parser or self._reader or self._keywords)

    def _function(self, function: Callable[..., Any] | None, field: str) -> AuthorFunction | None:
        return None if function is None else AuthorFunction(function, f"{field} of {self.endpoint}")

    @property
    def shows_request(self) -> bool:
        return self._declared.response_generator is not None

    @property
    def sources(self) -> list[object]:
        handler = self._declared
        counts = [handler.workload_calculator, handler.answer_workload]
        functions = [handler.benchmark_payload, *counts, handler.request_parser]
        return [handler, *functions, handler.payload_class, handler.remote_function]

    # --- reading a request ---

    async def read_plain(self, request: Incoming, read: ReadBody) -> Call:
        """A payload that has to be looked at must be JSON, or a query for a function; all else streams through."""
        if not request.has_body and self._keywords is not None:
            return Call(None, None, msgspec.Raw(dump(dict(parse_qsl(query_without_key(request.query))))))
        if not (self._reads_payloads and request.has_body):
            return await super().read_plain(request, read)
        if (request.header("Content-Type") or "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMedia()
        return Call(None, None, msgspec.Raw(await read()))

    @property
    def prepares(self) -> bool:
        return self._reads_payloads or (self._calculator is not None and self._calculator.is_away)

    async def prepare(self, call: Call) -> None:
        raw = cast("msgspec.Raw | None", call.payload)
        if raw is None:
            return
        if not self._reads_payloads:
            await self._count_ahead(call, raw)
            return
        is_envelope = call.auth_data is not None
        payload = payload_object(raw) if is_envelope else decode_object(memoryview(raw))
        try:
            call.payload = await self._understood(call, payload)
        except JsonDataException as error:
            if not is_envelope:
                raise
            raise JsonDataException({"payload": error.message}) from None

    async def _count_ahead(self, call: Call, raw: msgspec.Raw) -> None:
        try:
            payload = decode_object(memoryview(raw))
        except InvalidJson:
            return  # count_workload says so
        call.counted = await self._counted(payload, None)

    async def _understood(self, call: Call, payload: dict[str, Any]) -> Any:
        """The payload as it is sent, or as the function is called; its workload is counted on the way."""
        if self._parser is not None:
            payload = await self._parsed(self._parser, payload)
        made: ApiPayload | None = None
        if self._reader is not None:
            made = await self._read(self._reader, payload)
        call.counted = await self._counted(payload, made)
        if self._keywords is None:
            return await self._encoded(payload if made is None else made)
        arguments = payload if made is None else made.generate_payload_json()
        self._keywords.check(arguments)
        return arguments

    async def _parsed(self, parser: AuthorFunction, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            parsed: Any = await parser.call(payload)
        except AUTHOR_ERRORS as error:
            raise self.faults.of_parser(parser.named, error) from None
        if isinstance(parsed, dict):
            return cast("dict[str, Any]", parsed)
        self.faults.tell_value(parser.what, parsed, "it must give a dict, the payload")
        raise HandlerFailed()

    async def _read(self, reader: AuthorFunction, payload: dict[str, Any]) -> ApiPayload:
        try:
            return cast("ApiPayload", await reader.call(payload))
        except AUTHOR_ERRORS as error:
            raise self.faults.of_reader(reader.named, error) from None

    # --- counting ---

    @property
    def counted_by(self) -> str:
        return "workload_calculator" if self._calculator is not None else "count_workload of the payload_class"

    def count_workload(self, call: Call) -> Any:
        return super().count_workload(call) if call.counted is msgspec.UNSET else call.counted

    def _count_now(self, payload: dict[str, Any]) -> Any:
        assert self._calculator is not None
        return self._calculator.call_now(payload)

    async def _counted(self, payload: dict[str, Any], made: ApiPayload | None) -> Any:
        """What the author counts; UNCOUNTED when that fails."""
        try:
            return await self._count(payload, made)
        except QueueFull:
            raise
        except AUTHOR_ERRORS as error:
            return self.not_counted(error)

    async def _count(self, payload: dict[str, Any], made: ApiPayload | None) -> float:
        if self._calculator is not None:
            return await self._calculator.call(payload)
        return self._declared.workload if made is None else made.count_workload()

    # --- the exchange ---

    async def exchange(self, request: Incoming, call: Call) -> bool:
        if self._keywords is not None:
            request.answer_json(await self._result(call.take_payload()))
            return True
        generate = self._declared.response_generator
        if generate is None:
            return await super().exchange(request, call)
        assert isinstance(request, AiohttpIncoming)  # it is not for the fast lane
        async with await self._send_for_author(request, call) as model_response:
            call.on_head()
            name = f"response_generator of {self.endpoint}"
            return await answered_by(generate, request, model_response, name, self.faults)

    def content(self, request: Incoming, payload: Any) -> tuple[RawHeaders, Body]:
        is_read = self._declared.response_generator is not None
        if isinstance(payload, _Encoded):
            pick = authored_request_headers if is_read or self.reads_answers else rewritten_request_headers
            return (*pick(request.raw_headers), payload.header), (payload.body,)
        headers, body = super().content(request, payload)
        return (readable_request_headers(headers) if is_read else headers), body

    async def _send_for_author(self, request: Incoming, call: Call) -> ModelResponse:
        headers, body = self.content(request, call.take_payload())
        target = target_with_query(request, call.target)
        answer = await self._model.send_for(ResponseAnswer, request.method, target, headers, body)
        return ModelResponse(request.method, self._model.url(target), answer)

    async def _encoded(self, payload: dict[str, Any] | ApiPayload) -> _Encoded:
        """What the model gets. Raises HandlerFailed when the author's payload cannot be sent."""
        try:
            if isinstance(payload, dict):
                return _Encoded(_JSON, dump(payload))
            return _Encoded(*await multipart.encoded_payload(payload, methodcaller("generate_payload_json")))
        except AUTHOR_ERRORS as error:
            self.faults.tell(f"making of the model's request for {self.endpoint}", error, _IS_500)
            raise HandlerFailed() from None

    async def _result(self, arguments: dict[str, Any]) -> bytes:
        function = self._declared.remote_function
        assert function is not None
        try:
            return dump({"result": await function(**arguments)})
        except JsonDataException:
            raise
        except AUTHOR_ERRORS as error:
            self.faults.tell(f"remote_function of {self.endpoint}", error, _IS_500)
            raise HandlerFailed() from error

    # --- the benchmark ---

    async def probe(self) -> Probe:
        workload, payload = await self._benchmark_request()
        try:
            if self._keywords is not None:
                await self._result(payload)
                return Probe(workload)
            headers = (payload.header,)
            async with await self._model.send("POST", self.endpoint, headers, (payload.body,)) as answer:
                answered = await answer.read()
        except (ModelUnreachable, ModelFailed, HandlerFailed, JsonDataException) as error:
            return Probe(0.0, _reason(error))
        return self.probed(workload, answer, answered)

    async def _benchmark_request(self) -> tuple[float, Any]:
        """A payload's workload and what is sent, or the function's arguments. Raises BenchmarkFailed."""
        try:
            payload = await self._benchmark_payload()
            fields = payload if isinstance(payload, dict) else payload.generate_payload_json()
            workload = await self._count(fields, None if isinstance(payload, dict) else payload)
            if self._keywords is None:
                return workload, await self._encoded(payload)
            self._keywords.check(fields)
            return workload, fields
        except AUTHOR_ERRORS as error:
            log.exception("making a benchmark payload for %s failed", self.endpoint)
            raise BenchmarkFailed(f"the benchmark of {self.endpoint}: {type(error).__name__}: {error}") from None

    async def _benchmark_payload(self) -> dict[str, Any] | ApiPayload:
        make: Any = self._declared.benchmark_payload
        async with self._making:
            payload: Any = await (make() if is_async(make) else in_thread(make))
        if isinstance(payload, ApiPayload):
            return payload
        if not isinstance(payload, dict):
            raise TypeError(f"{place_of(make)} gave a {type(payload).__name__}; it must give a dict, the payload")
        fields = cast("dict[str, Any]", payload)
        return fields if self._reader is None else cast("ApiPayload", await self._reader.call(fields))


def _reason(error: Exception) -> str:
    """Why a request of the benchmark failed: what the author's code raised, where it was that."""
    cause = error.__cause__
    return str(error) if cause is None else f"{type(cause).__name__}: {cause}"
