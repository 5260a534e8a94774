"""A request on the fast lane, its body while it comes in, and its answer, written straight to the socket."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import http
import time
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from pyworker.errors import PyWorkerError
from pyworker.headers import raw_answer_headers
from pyworker.wire import dump
from pyworker.worker.inbound.incoming import Incoming
from pyworker.worker.model.connection import HIGH_WATER_BYTES, Answer, Failure

__all__ = ["FastIncoming"]


class Client(Protocol):
    """The connection that a request came on."""

    @property
    def lost(self) -> bool: ...

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...


class _Body:
    """A body while it comes in; reading of the socket stops while too much of it is waiting."""

    def __init__(self, connection: Client, *, expects_continue: bool) -> None:
        self._connection = connection
        self._expects_continue = expects_continue
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._eof = False
        self._failure: Failure | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        if self._size_bytes > HIGH_WATER_BYTES:
            self._connection.pause_reading()
        self._wake()

    def feed_eof(self, *, lost: bool = False) -> None:
        self._eof = not lost
        if lost:
            self._failure = lambda: ConnectionResetError("the client has gone")
        self._wake()

    def fail(self, failure: Failure) -> None:
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def is_eof(self) -> bool:
        return self._eof

    def read_nowait(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        if self._size_bytes > HIGH_WATER_BYTES:
            self._connection.resume_reading()
        self._size_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def readany(self) -> bytes:
        if self._expects_continue and not self._pieces:
            self._expects_continue = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._pieces and not self._eof:
            if self._failure is not None:
                raise self._failure()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.read_nowait()

    async def iter_any(self) -> AsyncIterator[bytes]:
        while piece := await self.readany():
            yield piece


class FastIncoming(Incoming):
    """One request on a Client, and its answer."""

    def __init__(
        self,
        connection: Client,
        method: bytes,
        path: bytes,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
    ) -> None:
        self._connection = connection
        self.method = method.decode("latin-1")
        self.path, _, self.query = path.decode("latin-1").partition("?")
        self.raw_headers = headers
        self.places = _NO_PLACES
        self.keep_alive = keep_alive
        self._first = {name.lower(): value for name, value in reversed(headers)}
        length = self._first.get(b"content-length")
        self.content_length = None if length is None else int(length)  # the parser has seen that it is a number
        self.has_body = bool(self.content_length) or b"transfer-encoding" in self._first
        self.body = self.stream = _Body(connection, expects_continue=b"expect" in self._first)
        self._begun = False

    def header(self, name: str) -> str | None:
        value = self._first.get(name.lower().encode())
        return None if value is None else value.decode("utf-8", "surrogateescape")

    @property
    def client_gone(self) -> bool:
        return self._connection.lost

    async def relay(self, answer: Answer) -> None:
        if answer.complete and answer.failure is None:
            body = answer.read_nowait()
            self._write_head(answer.status, answer.reason, raw_answer_headers(answer.headers), len(body), body)
            return
        headers = raw_answer_headers(answer.headers)
        has_length = _has(headers, b"content-length")
        self._write_head(answer.status, answer.reason, headers, None, b"")
        while piece := await answer.next_piece():
            self._connection.write(piece if has_length else b"%x\r\n%b\r\n" % (len(piece), piece))
            await self._connection.drain()
        if not has_length:
            self._connection.write(b"0\r\n\r\n")

    def answer_json(self, body: bytes) -> None:
        self._write_head(200, "OK", [(b"Content-Type", b"application/json")], len(body), body)

    def _write_head(
        self, status: int, reason: str, headers: list[tuple[bytes, bytes]], length: int | None, body: bytes
    ) -> None:
        """The head, and with it a body that is complete; a stream goes chunked when the headers name no length."""
        self._begun = True
        lines = [b"HTTP/1.1 %d %b" % (status, reason.encode("latin-1", "replace"))]
        lines += [b"%b: %b" % header for header in headers]
        if not _has(headers, b"content-length") and status != 204 and (length or self.method != "HEAD"):
            lines.append(b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length)
        if not _has(headers, b"date"):
            lines.append(_date_line(int(time.time())))
        if not self.keep_alive:
            lines.append(b"Connection: close")
        lines.append(b"\r\n")
        self._connection.write(b"\r\n".join(lines) + (b"" if self.method == "HEAD" else body))

    def answer_error(self, error: PyWorkerError) -> None:
        """The JSON answer to an exception, unless an answer has begun."""
        if self._begun or self.client_gone:
            return
        body = dump(error.body())
        headers = [(name.encode(), value.encode()) for name, value in error.headers().items()]
        headers.append((b"Content-Type", b"application/json"))
        self.keep_alive = self.keep_alive and self.stream.is_eof()
        self._write_head(error.status, _REASONS.get(error.status, "Error"), headers, len(body), body)

    def cut_off(self) -> None:
        if self._begun:
            self._connection.close()


def _has(headers: list[tuple[bytes, bytes]], low_name: bytes) -> bool:
    return any(len(name) == len(low_name) and name.lower() == low_name for name, _ in headers)


_NO_PLACES: Mapping[str, str] = {}
_REASONS = {int(status): status.phrase for status in http.HTTPStatus}


@functools.lru_cache(maxsize=2)
def _date_line(epoch_s: int) -> bytes:
    return f"Date: {email.utils.formatdate(epoch_s, usegmt=True)}".encode()
