"""A worker's answer on its way to the caller; for callers who want events, comments before it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web

from pyworker.client.attempts import Answered
from pyworker.errors import PyWorkerError, WorkerUnreachable
from pyworker.gateway.answers import error_body, error_event, failed_event, status_of
from pyworker.gateway.way import Way
from pyworker.headers import answer_headers
from pyworker.wire import dump

__all__ = ["Relay"]

log = logging.getLogger("pyworker.gateway")

MOST_AT_ONCE_BYTES: Final = 64 * 1024  # a shorter answer, of known length, is passed on in one piece
_EVENTS: Final = "text/event-stream"
_EVENT_HEADERS: Final = {"Content-Type": _EVENTS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Relay:
    """One request's answer. Its head is the worker's, or, when comments came before it, a 200 of our own."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._begun: web.StreamResponse | None = None

    async def comment(self, text: str) -> None:
        """Something that says "not yet", and that every reader of events passes over."""
        response = await self._begin(web.StreamResponse(headers=_EVENT_HEADERS))
        await response.write(b": " + text.replace("\n", " ").encode() + b"\n\n")

    async def answer(self, answered: Answered, way: Way) -> web.StreamResponse:
        """Pass a worker's answer on. Raises WorkerUnreachable when it breaks off; ``failed`` says so then."""
        worker = answered.response
        pieces = _pieces(answered)
        if self._begun is not None:
            return await self._go_on(worker, pieces, self._begun)
        headers = answer_headers(worker.raw_headers)
        headers.add("Server-Timing", way.server_timing())
        if worker.content_length is not None and worker.content_length <= MOST_AT_ONCE_BYTES:
            body = b"".join([piece async for piece in pieces])
            if self._request.method != "HEAD":
                headers.popall("Content-Length", None)
            return web.Response(status=worker.status, reason=worker.reason, headers=headers, body=body)
        response = await self._begin(web.StreamResponse(status=worker.status, reason=worker.reason, headers=headers))
        return await _written(response, pieces)

    async def failed(self, error: PyWorkerError) -> web.StreamResponse:
        """There is no answer, or no rest of it."""
        status, text = status_of(error), str(error)
        if self._begun is None:
            return web.Response(
                body=dump(error_body(status, text)),
                status=status,
                headers={**error.headers(), "Content-Type": "application/json"},
            )
        log.warning("an answer is cut off: %s", text)
        if self._begun.content_type == _EVENTS:
            await self._begun.write(error_event(status, text))
            if status != WorkerUnreachable.status:
                await self._begun.write_eof()
                return self._begun
        if self._request.transport is not None:
            self._request.transport.close()  # no end: nobody shall take it for a whole one
        return self._begun

    async def _go_on(
        self, worker: aiohttp.ClientResponse, pieces: AsyncIterator[bytes], begun: web.StreamResponse
    ) -> web.StreamResponse:
        """After the head has been sent: what is no stream of events is made one."""
        if worker.status < 400 and worker.content_type == _EVENTS:
            return await _written(begun, pieces)
        body = b"".join([piece async for piece in pieces])
        await begun.write(b"data: " + body + b"\n\n" if worker.status < 400 else failed_event(worker.status, body))
        await begun.write_eof()
        return begun

    async def _begin(self, response: web.StreamResponse) -> web.StreamResponse:
        if self._begun is None:
            await response.prepare(self._request)
            self._begun = response
        return self._begun


async def _pieces(answered: Answered) -> AsyncIterator[bytes]:
    try:
        async for piece in answered.response.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as error:
        why = str(error) or type(error).__name__
        raise WorkerUnreachable(f"the worker at {answered.routed.url} broke off its answer: {why}") from None


async def _written(response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response
