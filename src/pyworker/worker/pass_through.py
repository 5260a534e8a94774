"""The pass-through route: bytes in, bytes out, straight from socket to socket."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from pyworker.errors import BenchmarkFailed, ModelFailed, ModelUnreachable
from pyworker.handlers import PassThroughHandler
from pyworker.headers import query_without_key, request_headers, rewritten_request_headers
from pyworker.wire import decode_object, dump, parse_envelope
from pyworker.worker.core.benchmark import Plan
from pyworker.worker.core.ledger import Lane
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.model.connection import Answer, Body, RawHeaders
from pyworker.worker.model.upstream import ModelServer
from pyworker.worker.routes import JSON_HEADERS, Call, Probe, ReadBody, Route, explain_envelope

__all__ = ["PassThroughRoute", "target_with_query"]

log = logging.getLogger("pyworker.handler")


class PassThroughRoute(Route):
    """Bytes in, bytes out."""

    def __init__(self, handler: PassThroughHandler, lane: Lane, max_wait_s: float | None, model: ModelServer) -> None:
        super().__init__(handler.endpoint, lane, max_wait_s)
        self._handler = handler
        self._model = model

    def parse_envelope(self, body: bytes | memoryview) -> Call:
        envelope = parse_envelope(body)
        if envelope is not None and not _is_null(envelope.payload):
            return Call(envelope.auth_data, envelope.session_id, envelope.payload)
        auth_data, payload, session_id = explain_envelope(decode_object(body))
        return Call(auth_data, session_id, msgspec.Raw(dump(payload)))

    async def read_plain(self, request: Incoming, read: ReadBody) -> Call:  # noqa: ARG002
        return Call(None, None, None)  # the body is not held: it streams through

    def count_workload(self, call: Call) -> float:
        calculator = self._handler.workload_calculator
        if calculator is None or call.payload is None:
            return self._handler.workload
        return calculator(decode_object(memoryview(call.payload)))

    async def exchange(self, request: Incoming, call: Call) -> bool:
        async with await self._send(request, call.target, call.take_payload()) as answer:
            call.on_head()
            await request.relay(answer)
            return answer.status < 400

    async def _send(self, request: Incoming, path: str, payload: Any) -> Answer:
        """The payload, or the body as it comes; returns at the answer's head, and holds the payload till then."""
        headers, body = self.content(request, payload)
        return await self._model.send(request.method, target_with_query(request, path), headers, body)

    def content(self, request: Incoming, payload: Any) -> tuple[RawHeaders, Body]:
        """Headers and body of the model's request; without a payload it is the client's body, as it comes."""
        if payload is None:
            return request_headers(request.raw_headers), request.body.iter_any() if request.has_body else ()
        return (*rewritten_request_headers(request.raw_headers), *JSON_HEADERS), (memoryview(payload),)

    @property
    def needs_request(self) -> bool:
        """Whether its author sees the ``web.Request``, which the fast lane does not have."""
        return False

    @property
    def plan(self) -> Plan | None:
        handler = self._handler
        if handler.benchmark_payload is None or not handler.has_benchmark:
            return None
        return Plan(handler.benchmark_runs, self.at_once(handler.concurrency), handler.do_warmup_benchmark)

    @property
    def sources(self) -> list[object]:
        return [self._handler, self._handler.benchmark_payload, self._handler.workload_calculator]

    async def probe(self) -> Probe:
        workload, body = await asyncio.to_thread(self._make_benchmark_request)
        try:
            async with await self._model.send("POST", self.endpoint, JSON_HEADERS, (body,)) as answer:
                await answer.read()
        except (ModelUnreachable, ModelFailed) as error:
            return Probe(0.0, str(error))
        return Probe(workload, "" if 200 <= answer.status < 300 else f"the model server answered {answer.status}")

    def _make_benchmark_request(self) -> tuple[float, bytes]:
        handler = self._handler
        try:
            payload = handler.benchmark_payload() if handler.benchmark_payload is not None else {}
            calculator = handler.workload_calculator
            return (calculator(payload) if calculator is not None else handler.workload), dump(payload)
        except Exception as error:
            log.exception("making a benchmark payload for %s failed", self.endpoint)
            raise BenchmarkFailed(
                f"benchmark_payload of {self.endpoint} raised {type(error).__name__}: {error}"
            ) from None


def target_with_query(request: Incoming, path: str) -> str:
    """The path on the model server, and what the client's query asks of it."""
    query = query_without_key(request.query)
    return f"{path}?{query}" if query else path


def _is_null(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) == 4 and bytes(view) == b"null"
