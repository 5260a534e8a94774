"""Load for an engine over HTTP: calls of one kind, one after another on each of many connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Calls", "percentile", "request_bytes"]


def request_bytes(path: str, body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Calls:
    """Keeps ``connections`` busy with what ``make`` gives until it is stopped; counts answers that hold ``good``."""

    port: int
    connections: int
    make: Callable[[], bytes]
    good: bytes
    answers: int = 0
    failures: int = 0
    times_s: list[float] = field(default_factory=list[float])
    _open: list[_Connection] = field(default_factory=list["_Connection"])

    async def start(self) -> None:
        """Open the connections and send the first requests."""
        loop = asyncio.get_running_loop()
        for _ in range(self.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.port)
            self._open.append(connection)
            connection.send()

    def stop(self) -> None:
        """Hang up."""
        for connection in self._open:
            connection.close()


class _Connection(asyncio.Protocol):
    """One request at a time; the next one is sent when the answer is complete."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self) -> None:
        assert self._transport is not None
        self._sent_s = time.perf_counter()
        self._transport.write(self._calls.make())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        good = head.startswith(b"HTTP/1.1 200") and self._calls.good in body
        self._calls.answers += good
        self._calls.failures += not good
        self._calls.times_s.append(time.perf_counter() - self._sent_s)
        self._buffer = b""
        self.send()


def _content_length(head: bytes) -> int:
    start = head.lower().index(b"content-length:") + 15
    return int(head[start:].split(b"\r\n", 1)[0])


def percentile(times_s: Sequence[float], share: float) -> float:
    """The time that this share of all times is at most."""
    ordered = sorted(times_s)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
