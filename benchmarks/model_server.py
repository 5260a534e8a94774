"""``python -m benchmarks.model_server PORT CHUNKS``: a model server that costs next to nothing.

``POST /generate`` answers 1 KB of JSON at once; ``POST /generate_stream`` answers CHUNKS server-sent events of 200
bytes, the first at once and 40 a second from then on; ``GET /healthcheck``; ``GET /streams`` says how many streams
are open. Request bodies are read and thrown away.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, cast

import httptools
import msgspec
import uvloop

__all__ = ["CHUNKS_PER_S", "CHUNK_BYTES", "JSON_BYTES"]

JSON_BYTES: Final = 1024
CHUNK_BYTES: Final = 200
CHUNKS_PER_S: Final = 40


def _answer(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _filled(template: str, size_bytes: int) -> bytes:
    return (template % ("x" * (size_bytes - len(template) + 2))).encode()


_GENERATED = _answer("200 OK", _filled('{"generated_text":"%s","tokens":256}', JSON_BYTES))
_HEALTHY = _answer("200 OK", b'{"status":"ok"}')
_UNKNOWN = _answer("404 Not Found", b'{"error":"no such route"}')
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_CHUNK = b"%x\r\n%s\r\n" % (CHUNK_BYTES, _filled('data: {"token":"%s"}\n\n', CHUNK_BYTES))
_STREAM_END = b"0\r\n\r\n"


class ModelServer(asyncio.Protocol):
    """One connection; ``open_streams`` counts over all of them."""

    open_streams = 0

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks
        self._sent = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_message_complete(self) -> None:
        if self._path == b"/generate_stream":
            self._begin_stream()
            return
        if self._path == b"/streams":
            answer = _answer("200 OK", msgspec.json.encode({"open": ModelServer.open_streams}))
        else:
            answer = {b"/generate": _GENERATED, b"/healthcheck": _HEALTHY}.get(self._path, _UNKNOWN)
        self._transport.write(answer)
        self._answered()

    def _begin_stream(self) -> None:
        ModelServer.open_streams += 1
        self._began_s = self._loop.time()
        self._sent = 0
        self._transport.write(_STREAM_HEAD)
        self._send_chunk()

    def _send_chunk(self) -> None:
        self._sent += 1
        if self._sent < self._chunks:
            self._transport.write(_CHUNK)
            self._timer = self._loop.call_at(self._began_s + self._sent / CHUNKS_PER_S, self._send_chunk)
            return
        self._transport.write(_CHUNK + _STREAM_END)
        self._end_stream()
        self._answered()

    def _end_stream(self) -> None:
        self._timer = None
        ModelServer.open_streams -= 1

    def _answered(self) -> None:
        if not self._parser.should_keep_alive():
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        if self._timer is not None:
            self._timer.cancel()
            self._end_stream()


async def _serve(port: int, chunks: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ModelServer(chunks), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
