"""A request as the proxy sees it, whichever server read it: aiohttp's, or the fast lane."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from aiohttp import web

from pyworker.headers import answer_headers
from pyworker.intake import BodySource, Hold
from pyworker.net import reset
from pyworker.worker.model.connection import Answer

__all__ = ["AiohttpIncoming", "Incoming", "PassableBody"]

KEPT_BYTES = 1024 * 1024
_NOT_KEPT = "a body of more than 1 MiB is not kept for client_request.read(), text() and json(): parse it before"


class PassableBody(BodySource, Protocol):
    """A request's body while it comes in, to be read or passed on."""

    def iter_any(self) -> AsyncIterator[bytes]:
        """Pieces as they come."""
        ...


class Incoming(ABC):
    """A request and the way to answer it."""

    method: str
    query: str
    raw_headers: Sequence[tuple[bytes, bytes]]
    places: Mapping[str, str]
    body: PassableBody
    content_length: int | None
    has_body: bool

    @abstractmethod
    def header(self, name: str) -> str | None:
        """The first header of this name."""

    async def read(self, hold: Hold) -> bytes | memoryview:
        """The whole body in clear, within the limits. Raises what ``Hold.read_clear`` does."""
        return await hold.read_clear(self.body, self.content_length or 0, self.header("Content-Encoding"))

    @property
    @abstractmethod
    def client_gone(self) -> bool:
        """Whether nobody is there to be answered."""

    @abstractmethod
    async def relay(self, answer: Answer) -> None:
        """Pass the model server's answer on as it comes. Raises ModelFailed when it breaks off."""

    @abstractmethod
    def answer_json(self, body: bytes) -> None:
        """An answer of the worker's own, with status 200."""

    @abstractmethod
    def cut_off(self) -> None:
        """When an answer has begun, end the connection so that the client cannot take it for a whole one."""


class AiohttpIncoming(Incoming):
    """A ``web.Request``; ``response`` is what its handler returns in the end.

    With ``keeps_body`` a body that was read is the request's own as well: its ``read()``, ``text()`` and ``json()``
    give it, as they do after a first ``read()``. One of more than KEPT_BYTES is not held that long: they raise.
    """

    def __init__(self, request: web.Request, *, keeps_body: bool = False) -> None:
        self.request = request
        self._keeps_body = keeps_body
        self.response: web.StreamResponse | None = None
        self.method = request.method
        self.raw_headers = request.raw_headers
        self.places = request.match_info
        self.body = request.content
        self.content_length = request.content_length
        self.has_body = request.body_exists

    async def read(self, hold: Hold) -> bytes | memoryview:
        body = await super().read(hold)
        if not self._keeps_body:
            return body
        if len(body) > KEPT_BYTES:
            self.request.content.set_exception(RuntimeError(_NOT_KEPT))
            return body
        body = self.request._read_bytes = bytes(body)  # pyright: ignore[reportPrivateUsage]
        return body

    @property
    def query(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What stands behind the path, as it was sent."""
        return self.request.rel_url.raw_query_string

    def header(self, name: str) -> str | None:
        return self.request.headers.get(name)

    @property
    def client_gone(self) -> bool:
        return self.request.transport is None or self.request.transport.is_closing()

    async def relay(self, answer: Answer) -> None:
        headers = answer_headers(answer.headers)
        if answer.complete and answer.failure is None:
            if self.method != "HEAD":
                headers.popall("Content-Length", None)  # aiohttp writes it, from the very same bytes
            self.response = web.Response(
                status=answer.status, reason=answer.reason, headers=headers, body=answer.read_nowait()
            )
            return
        response = self.response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        await response.prepare(self.request)
        while piece := await answer.next_piece():
            await response.write(piece)
        await response.write_eof()

    def answer_json(self, body: bytes) -> None:
        self.response = web.Response(body=body, content_type="application/json")

    def cut_off(self) -> None:
        if self.request.writer.output_size == 0 or self.request.transport is None:
            return
        if self.request.version < (1, 1):
            reset(self.request.transport)  # the end of the connection is how HTTP/1.0 ends an answer
        else:
            self.request.transport.close()
