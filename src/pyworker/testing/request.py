"""One request that a fake received, and the means to answer it."""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import json as json_module
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy, MultiMapping
from yarl import URL

from pyworker import wire

__all__ = ["Behaviour", "Connection", "FakeRequest"]


@dataclass(slots=True)
class Connection:
    """One connection to a fake: its number, from 1, and how many requests came on it."""

    number: int
    requests: int = 0
    busy: bool = False


class FakeRequest:
    """What was asked, and the means to answer it: from a behaviour, or step by step from the test itself.

    ``nth`` counts the requests on its ``connection``, from 1. ``gone`` is set when the client closes the connection
    before the answer has ended.
    """

    def __init__(self, request: web.BaseRequest, connection: Connection) -> None:
        self._request = request
        self._connection = connection
        self._response: web.StreamResponse | None = None
        self.connection = connection.number
        self.nth = connection.requests
        self.body = b""
        self.sent_bytes = 0
        self.gone = asyncio.Event()
        self.ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{self.method} {self._request.rel_url}>"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self._request.method

    @property
    def path(self) -> str:
        """The path as it was sent, not decoded, without the query."""
        return self._request.rel_url.raw_path

    @property
    def query(self) -> MultiMapping[str]:
        """The query's parameters."""
        return self._request.rel_url.query

    @property
    def url(self) -> URL:
        """Path and query."""
        return self._request.rel_url

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers as they were sent."""
        return self._request.headers

    def json(self) -> Any:
        """The body, decoded from JSON."""
        return json_module.loads(self.body)

    async def read_body(self) -> bytes:
        """Read the rest of the body into ``body`` (a fake does that by itself unless ``read_bodies=False``)."""
        self.body += await self._request.content.read()
        return self.body

    async def read_some(self, max_bytes: int = 65536) -> bytes:
        """Read one more piece of the body into ``body``; empty at its end."""
        piece = await self._request.content.read(max_bytes)
        self.body += piece
        return piece

    async def answer(
        self, body: Any = b"", *, status: int = 200, headers: Mapping[str, str] | None = None, gzip: bool = False
    ) -> None:
        """Answer at once: bytes and str as they are, anything else as JSON; compressed if asked for."""
        data, content_type = _encoded(body)
        head = CIMultiDict(headers or {})  # a MultiDict may repeat a name
        head.setdefault("Content-Type", content_type)
        if gzip:
            data, head["Content-Encoding"] = gzip_module.compress(data), "gzip"
        await self._start(web.Response(body=data, status=status, headers=head))
        self.sent_bytes += len(data)
        await self.end()

    async def start(self, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send status and headers of a streamed answer (``text/event-stream`` unless headers say otherwise)."""
        await self._start(
            web.StreamResponse(status=status, headers={"Content-Type": "text/event-stream", **(headers or {})})
        )

    async def send(self, chunk: bytes | str) -> None:
        """Send one chunk of a streamed answer, first the headers if need be; waits while the client does not read."""
        if self._response is None:
            await self.start()
        data = chunk.encode() if isinstance(chunk, str) else chunk
        await self._started().write(data)
        self.sent_bytes += len(data)

    async def websocket(self, *, protocols: Iterable[str] = (), **options: Any) -> web.WebSocketResponse:
        """Take the handshake: an open websocket, aiohttp's, with these ``options``. It is closed when answered."""
        given: dict[str, Any] = {"protocols": protocols, "max_msg_size": 0, "compress": False, **options}
        socket = web.WebSocketResponse(**given)
        await self._start(socket)
        return socket

    async def send_event(self, data: Any) -> None:
        """Send one server-sent event: a str as it is, anything else as JSON."""
        text = data if isinstance(data, str) else wire.dump(data).decode()
        await self.send(f"data: {text}\n\n")

    async def end(self) -> None:
        """End the answer as it should end."""
        self._connection.busy = False
        await self._started().write_eof()
        self.ended.set()

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection here and now, whatever was sent of the answer; with ``reset`` by a TCP RST."""
        self.ended.set()
        transport = self._request.transport
        if transport is None:
            return
        if reset:
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()

    async def _start(self, response: web.StreamResponse) -> None:
        if self._response is not None:
            raise RuntimeError(f"{self} was answered already")
        self._response = response
        await response.prepare(self._request)

    def _started(self) -> web.StreamResponse:
        if self._response is None:
            raise RuntimeError(f"{self} has no answer yet")
        return self._response

    async def answered_by(self, behaviour: Behaviour) -> web.StreamResponse:
        """Let ``behaviour`` answer, for the server that this request came to."""
        try:
            await behaviour(self)
        except (asyncio.CancelledError, ConnectionError):
            if not self.ended.is_set():
                self.gone.set()
            raise
        if not self.ended.is_set():
            await self.end()
        return self._started() if self._response else web.Response()


Behaviour = Callable[[FakeRequest], Awaitable[None]]


def _encoded(body: Any) -> tuple[bytes, str]:
    if isinstance(body, bytes):
        return body, "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return wire.dump(body), "application/json"
