"""The pass-through route: bytes in, bytes out, straight from socket to socket."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from pyworker.errors import BenchmarkFailed, InvalidJson, ModelFailed, ModelUnreachable
from pyworker.handlers import PassThroughHandler
from pyworker.headers import (
    authored_request_headers,
    query_without_key,
    readable_request_headers,
    request_headers,
    rewritten_request_headers,
)
from pyworker.wire import decode_object, dump, parse_envelope
from pyworker.worker.author_faults import AUTHOR_ERRORS
from pyworker.worker.core.benchmark import Plan
from pyworker.worker.core.ledger import Lane
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.model.connection import LAST_BYTES, Answer, Body, RawHeaders, RememberingAnswer
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.routes import JSON_HEADERS, Call, Probe, ReadBody, Route, explain_envelope

__all__ = ["PassThroughRoute", "target_with_query"]

log = logging.getLogger("pyworker.handler")

COUNTED_BYTES = 32 * 1024 * 1024  # a larger body is not held to be counted
_ENVELOPE_FIELDS = frozenset({"auth_data", "payload", "session_id"})


class PassThroughRoute(Route):
    """Bytes in, bytes out."""

    def __init__(self, handler: PassThroughHandler, lane: Lane, max_wait_s: float | None, model: ModelServer) -> None:
        super().__init__(handler.endpoint, lane, max_wait_s)
        self._handler = handler
        self._model = model
        self.reads_answers = handler.answer_workload is not None

    def parse_envelope(self, body: bytes | memoryview) -> Call:
        envelope = parse_envelope(body)
        if envelope is not None and not _is_null(envelope.payload):
            return Call(envelope.auth_data, envelope.session_id, envelope.payload)
        auth_data, payload, session_id = explain_envelope(decode_object(body))
        return Call(auth_data, session_id, msgspec.Raw(dump(payload)))

    def parse_plain(self, body: bytes | memoryview) -> Call | None:
        message = decode_object(body)
        return None if not message or message.keys() & _ENVELOPE_FIELDS else Call(None, None, msgspec.Raw(body))

    async def read_plain(self, request: Incoming, read: ReadBody) -> Call:
        """The body is held when its workload is to be counted; any other streams through."""
        is_read = self._handler.workload_calculator is not None or self.shows_request
        is_held = is_read and _is_counted(request) and read.fits()
        return Call(None, None, msgspec.Raw(await read()) if is_held else None)

    @property
    def counted_by(self) -> str:
        return "workload_calculator"

    def count_workload(self, call: Call) -> Any:
        calculator = self._handler.workload_calculator
        if calculator is None or call.payload is None:
            return self._handler.workload
        try:
            payload = decode_object(memoryview(call.payload))
        except InvalidJson:  # the model server says what is wrong with it
            return self._handler.workload
        return calculator(payload)

    async def exchange(self, request: Incoming, call: Call) -> bool:
        async with await self._send(request, call.target, call.take_payload()) as answer:
            call.on_head()
            await request.relay(answer)
            if isinstance(answer, RememberingAnswer):
                call.answered = self._answered(answer, answer.last_bytes)
            if call.answered is not None:
                self.estimates.add(call.estimate, call.answered)
            return answer.status < 400

    async def _send(self, request: Incoming, path: str, payload: Any) -> Answer:
        """The payload, or the body as it comes; returns at the answer's head, and holds the payload till then."""
        headers, body = self.content(request, payload)
        kind = RememberingAnswer if self.reads_answers else Answer
        return await self._model.send_for(kind, request.method, target_with_query(request, path), headers, body)

    def content(self, request: Incoming, payload: Any) -> tuple[RawHeaders, Body]:
        """Headers and body of the model's request; without a payload it is the client's body, as it comes."""
        if payload is None:
            pick = readable_request_headers if self.reads_answers else request_headers
            return pick(request.raw_headers), request.body.iter_any() if request.has_body else ()
        pick = authored_request_headers if self.reads_answers else rewritten_request_headers
        return (*pick(request.raw_headers), *JSON_HEADERS), (memoryview(payload),)

    def _answered(self, answer: Answer, last_bytes: bytes) -> float | None:
        """What an answer that came whole shows of its request's workload."""
        count = self._handler.answer_workload
        in_clear = not any(name.lower() == b"content-encoding" for name, _ in answer.headers)
        if count is None or not (in_clear and 200 <= answer.status < 300):
            return None
        return self.answered_workload(count, last_bytes)

    def probed(self, workload: float, answer: Answer, body: bytes) -> Probe:
        """What a request of the benchmark was, from its whole answer."""
        if not 200 <= answer.status < 300:
            return Probe(workload, f"the model server answered {answer.status}")
        answered = self._answered(answer, body[-LAST_BYTES:])
        return Probe(workload if answered is None else answered)

    @property
    def plan(self) -> Plan | None:
        handler = self._handler
        if handler.benchmark_payload is None or not handler.has_benchmark:
            return None
        return Plan(handler.benchmark_runs, self.at_once(handler.concurrency), handler.do_warmup_benchmark)

    @property
    def sources(self) -> list[object]:
        handler = self._handler
        return [handler, handler.benchmark_payload, handler.workload_calculator, handler.answer_workload]

    async def probe(self) -> Probe:
        workload, body = await asyncio.to_thread(self._make_benchmark_request)
        try:
            async with await self._model.send("POST", self.endpoint, JSON_HEADERS, (body,)) as answer:
                answered = await answer.read()
        except (ModelUnreachable, ModelFailed) as error:
            return Probe(0.0, str(error))
        return self.probed(workload, answer, answered)

    def _make_benchmark_request(self) -> tuple[float, bytes]:
        handler = self._handler
        try:
            payload = handler.benchmark_payload() if handler.benchmark_payload is not None else {}
            calculator = handler.workload_calculator
            return (calculator(payload) if calculator is not None else handler.workload), dump(payload)
        except AUTHOR_ERRORS as error:
            log.exception("making a benchmark payload for %s failed", self.endpoint)
            raise BenchmarkFailed(
                f"benchmark_payload of {self.endpoint} raised {type(error).__name__}: {error}"
            ) from None


def target_with_query(request: Incoming, path: str) -> str:
    """The path on the model server, and what the client's query asks of it."""
    query = query_without_key(request.query)
    return f"{path}?{query}" if query else path


def _is_counted(request: Incoming) -> bool:
    """Whether a body is JSON, in clear, and not too large to be looked at."""
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" and request.header("Content-Encoding") is None
    return is_json and (request.content_length or 0) <= COUNTED_BYTES


def _is_null(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) == 4 and bytes(view) == b"null"
