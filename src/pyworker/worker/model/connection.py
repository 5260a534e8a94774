"""One connection to the model server at asyncio.Protocol level: a request goes out, its Answer comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast

import httptools

from pyworker.errors import ModelFailed
from pyworker.net import keep_alive

__all__ = [
    "HIGH_WATER_BYTES",
    "IDLE_S",
    "LAST_BYTES",
    "Answer",
    "AnswerT",
    "Body",
    "ClosedEarlyError",
    "Connection",
    "Failure",
    "RawHeaders",
    "RememberingAnswer",
]

IDLE_S = 4.0  # llama.cpp, uvicorn and node close after 5 s
HIGH_WATER_BYTES = 256 * 1024
LAST_BYTES = 64 * 1024
_SLACK_BYTES = 16 * 1024

RawHeaders = Sequence[tuple[bytes, bytes]]
Body = tuple[bytes | memoryview, ...] | AsyncIterator[bytes]  # pieces, or a stream
Failure = Callable[[], Exception]  # an exception that is kept would keep, by its traceback, all that saw it pass
AnswerT = TypeVar("AnswerT", bound="Answer")


class ClosedEarlyError(Exception):
    """The connection ended before the first byte of an answer."""


class Answer:
    """The model server's answer; its body is read once, in the pieces it came in.

    Leaving ``async with`` before the end closes the connection, and with it the model's work.
    """

    def __init__(self, connection: Connection) -> None:
        self.status = 0
        self.reason = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.failure: Failure | None = None
        self._connection = connection
        self._pieces: list[bytes] = []
        self._buffered_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.finish(self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        while piece := await self.next_piece():
            yield piece

    async def next_piece(self) -> bytes:
        """All that has come since the last call, at least one byte; b"" at the end. Raises ModelFailed."""
        while not self._pieces:
            if self.failure is not None:
                raise self.failure()
            if self.complete:
                return b""
            await self._connection.wait()
        return self._take_pieces()

    async def read(self) -> bytes:
        """The rest of the body. Raises ModelFailed."""
        pieces = [piece async for piece in self]
        return b"".join(pieces)

    def read_nowait(self) -> bytes:
        """What is there already."""
        return self._take_pieces() if self._pieces else b""

    def _take_pieces(self) -> bytes:
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        if self._buffered_bytes > HIGH_WATER_BYTES:
            self._connection.resume_reading()
        self._buffered_bytes = 0
        return data

    # --- called by the connection ---

    def begin(self) -> None:
        """Status and headers are there."""

    def add(self, piece: bytes) -> bool:
        """A piece of the body. False when reading should stop for now."""
        self._pieces.append(piece)
        self._buffered_bytes += len(piece)
        return self._buffered_bytes <= HIGH_WATER_BYTES

    def end(self) -> None:
        """The body is complete."""
        self.complete = True

    def fail(self, failure: Failure) -> None:
        """There will be no more."""
        self.failure = failure


class RememberingAnswer(Answer):
    """An Answer that keeps its last bytes for who looks at them when it has passed."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._last = bytearray()

    @property
    def last_bytes(self) -> bytes:
        """The end of what has come of the body, LAST_BYTES at most."""
        return bytes(self._last[-LAST_BYTES:])

    def add(self, piece: bytes) -> bool:
        self._last += piece
        if len(self._last) > LAST_BYTES + _SLACK_BYTES:  # not with every piece of a stream
            del self._last[:-LAST_BYTES]
        return super().add(piece)


class Connection(asyncio.Protocol):
    """One connection: requests go out, the parser's callbacks fill the Answer, waiters are woken."""

    def __init__(self, release: Callable[[Connection], None]) -> None:
        self.reused = False
        self.idle_s = IDLE_S
        self.idle_until_s = 0.0
        self._release = release
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None  # until its user is done with it
        self._incoming: Answer | None = None  # the same, until it is complete
        self._upload: asyncio.Task[None] | None = None
        self._paused = False
        self._method = ""
        self._head_done = False
        self._has_length = False
        self._keep = False
        self._received_bytes = False
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    # --- used by ModelServer and Answer ---

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, method: str, head: bytes, body: Body, answer: AnswerT) -> AnswerT:
        """Send one request and wait for the head of its answer, which may come before the request has ended."""
        self._answer = self._incoming = answer
        self._upload = None
        self._method = method
        self._head_done = self._has_length = self._keep = self._received_bytes = False
        try:
            self._send(head, body)
            while not self._head_done:
                if answer.failure is not None:
                    raise answer.failure()
                await self.wait()
        except BaseException:
            await self._give_up()
            raise
        return answer

    def _send(self, head: bytes, body: Body) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ClosedEarlyError
        if not isinstance(body, tuple):
            transport.write(head)
            chunked = head.endswith(b"Transfer-Encoding: chunked\r\n\r\n")
            self._upload = asyncio.create_task(self._send_stream(transport, body, chunked=chunked))
            self._upload.add_done_callback(self._upload_ended)
        elif sum(map(len, body)) <= HIGH_WATER_BYTES:
            transport.write(b"".join((head, *body)))
        else:
            transport.write(head)
            for piece in body:  # a large body is not copied to stand behind its head
                transport.write(piece)

    async def _send_stream(self, transport: asyncio.Transport, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        async for piece in body:
            if transport.is_closing():
                return
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if self._writable is not None:
                await self._writable
        if chunked and not transport.is_closing():
            transport.write(b"0\r\n\r\n")

    def _upload_ended(self, upload: asyncio.Task[None]) -> None:
        error = None if upload.cancelled() else upload.exception()
        if isinstance(error, Exception):
            self._fail(lambda: error)

    async def wait(self) -> None:
        """Until anything happens on this connection."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def finish(self, answer: Answer) -> None:
        """The caller is done with the answer: keep the connection, or close it to end the model's work.

        One that a stream went out on is not kept: each stream makes a new one, so that they would only pile up.
        """
        if self._answer is not answer:
            return
        self._answer = None
        whole = answer.complete and answer.failure is None
        if whole and self._keep and self._upload is None and self.idle_s > 0 and self.is_open:
            self.resume_reading()
            self._release(self)
        else:
            await self._give_up()

    async def _give_up(self) -> None:
        """Close, and let go of the body that is still being sent, which is its giver's again."""
        self.abort()
        if self._upload is not None and not self._upload.done():
            self._upload.cancel()
            await asyncio.wait([self._upload])

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """The caller cannot keep up."""
        if self.is_open and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """The caller has caught up."""
        if self.is_open and self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._received_bytes = True
        if self._incoming is None:  # nobody asked
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(lambda: ModelFailed("the model server switched protocols unasked"))
        except httptools.HttpParserError:
            self._fail(lambda: ModelFailed("the model server's answer is not HTTP"))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        answer, self._incoming = self._incoming, None
        if answer is not None and answer.failure is None:
            if not self._received_bytes:
                answer.fail(ClosedEarlyError)
            elif self._head_done and not self._has_length and exc is None:
                answer.end()  # its end is the end of the connection
            else:
                answer.fail(ModelFailed)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._wake()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Failure) -> None:
        if self._incoming is not None:
            self._incoming.fail(failure)
        self.abort()
        self._wake()

    # --- httptools ---

    def on_message_begin(self) -> None:
        if self._incoming is None:  # more than was asked for
            self._keep = False

    def on_status(self, status: bytes) -> None:
        if self._incoming is not None:
            self._incoming.reason = status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is None or self._head_done:  # trailers are dropped
            return
        self._incoming.headers.append((name, value))
        lower = name.lower()
        if lower == b"content-length" or (lower == b"transfer-encoding" and b"chunked" in value.lower()):
            self._has_length = True
        elif lower == b"keep-alive":
            self.idle_s = _idle_s(value)

    def on_headers_complete(self) -> None:
        answer = self._incoming
        if answer is None:
            return
        answer.status = self._parser.get_status_code()
        if answer.status < 200:  # 100 Continue and the like: the answer is still to come
            answer.headers.clear()
            self._has_length = False
            return
        self._head_done = True
        answer.begin()
        self._keep = self._parser.should_keep_alive()
        if self._method == "HEAD":  # the parser would wait for the body that its length names
            self._keep = False
            self._complete(answer)

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None and not self._incoming.add(body):
            self.pause_reading()

    def on_message_complete(self) -> None:
        if self._incoming is not None and self._head_done:
            self._complete(self._incoming)

    def _complete(self, answer: Answer) -> None:
        self._incoming = None
        answer.end()


def _idle_s(keep_alive_header: bytes) -> float:
    """A second less than the server's ``timeout=``, at most IDLE_S if it names none."""
    for part in keep_alive_header.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name.strip().lower() == b"timeout" and value.strip().isdigit():
            return max(0.0, float(value) - 1.0)
    return IDLE_S
