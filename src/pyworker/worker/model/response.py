"""The model server's answer as the ``aiohttp.ClientResponse`` that authors see.

aiohttp's own client costs several times what the exchange itself does, so the answer comes by ``upstream`` like any
other and is shown as a ClientResponse: status, headers and a ``content`` stream that the connection fills. What
depends on aiohttp's insides is all here, and tested.
"""

from __future__ import annotations

import asyncio
import zlib
from types import TracebackType
from typing import Any, cast

import aiohttp
import yarl
from aiohttp import ClientPayloadError, HttpVersion11, RequestInfo, StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import TimerNoop
from multidict import CIMultiDict, CIMultiDictProxy

from pyworker.worker.model.connection import Answer, Connection, Failure

__all__ = ["ModelResponse", "ResponseAnswer"]

_BUFFER_BYTES = 64 * 1024
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_BROKEN_OFF = "the model server broke off its answer"
_NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


class _Flow:
    """What a StreamReader asks of its protocol: to stop and go on reading."""

    connected = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True
        self._connection.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: ARG002 - aiohttp's signature
        if self.paused:
            self.paused = False
            self._connection.resume_reading()


class ResponseAnswer(Answer):
    """An Answer whose body goes to an aiohttp StreamReader once somebody asks for one, decompressed if need be."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.reader: StreamReader | None = None
        self._flow = _Flow(connection)
        self._decompressor: Any = None
        self._compressed_bytes = 0

    @property
    def content(self) -> StreamReader:
        """The body as a stream; what has come so far is in it."""
        if self.reader is None:
            flow = cast("BaseProtocol", self._flow)
            self.reader = StreamReader(flow, _BUFFER_BYTES, loop=asyncio.get_running_loop())
            self.reader.feed_data(self.read_nowait())
            if self.complete:
                self.reader.feed_eof()
            elif self.failure is not None:
                self.reader.set_exception(ClientPayloadError(_BROKEN_OFF))
        return self.reader

    def begin(self) -> None:
        for name, value in self.headers:
            if name.lower() == b"content-encoding":
                bits = _WINDOW_BITS.get(value.decode("latin-1").strip().lower())
                self._decompressor = None if bits is None else zlib.decompressobj(bits)

    def add(self, piece: bytes) -> bool:
        if self._decompressor is None:
            if self.reader is None:
                return super().add(piece)
            self.reader.feed_data(piece)
            return True
        self._compressed_bytes += len(piece)
        try:
            self.content.feed_data(self._decompressor.decompress(piece))
        except zlib.error:
            self.content.set_exception(ClientPayloadError("the model server's answer is compressed wrongly"))
        return True  # the reader itself pauses

    def end(self) -> None:
        super().end()
        if self._compressed_bytes and not self._decompressor.eof:
            self.content.set_exception(ClientPayloadError("the model server's compressed answer is cut off"))
        if self.reader is not None:
            self.reader.feed_eof()

    def fail(self, failure: Failure) -> None:
        super().fail(failure)
        if self.reader is not None:
            self.reader.set_exception(ClientPayloadError(_BROKEN_OFF))


class ModelResponse(aiohttp.ClientResponse):
    """A ResponseAnswer as a ClientResponse. Leave ``async with`` to give its connection back."""

    def __init__(self, method: str, url: yarl.URL, answer: ResponseAnswer) -> None:
        super().__init__(
            method,
            url,
            writer=None,
            continue100=None,
            timer=TimerNoop(),
            request_info=RequestInfo(url, method, _NO_HEADERS, url),
            traces=[],
            loop=asyncio.get_running_loop(),
            session=cast("aiohttp.ClientSession", None),
            stream_writer=cast("Any", _NothingWritten),
        )
        self.version = HttpVersion11
        self.status = answer.status
        self.reason = answer.reason
        self._headers = CIMultiDictProxy(CIMultiDict((_text(name), _text(value)) for name, value in answer.headers))
        self._raw_headers = tuple(answer.headers)
        self._raw_cookie_headers = tuple(self._headers.getall("Set-Cookie", ()))
        self._answer = answer

    @property
    def content(self) -> StreamReader:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The body as a stream."""
        return self._answer.content

    async def read(self) -> bytes:
        """The whole body."""
        answer = self._answer
        if self._body is None and answer.complete and answer.reader is None:
            self._body = answer.read_nowait()  # it is all there: no stream is needed
        return await super().read()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self._answer.__aexit__(exc_type, exc_val, exc_tb)


class _NothingWritten:
    """The request was not written by aiohttp."""

    output_size = 0


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
