"""A TCP server that sends the bytes a test gives it: for answers that no HTTP library would make."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from pyworker.testing import Seen

__all__ = ["RawConnection", "RawServer"]

_HOST = "127.0.0.1"


class RawConnection:
    """One connection: its number, from 1, what came on it, and what goes out."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.sent_bytes = 0

    async def request(self) -> bytes:
        """The head of the next request, and its body when it has a Content-Length. b"" when the peer has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                head += await self.reader.readexactly(int(line.partition(b":")[2]))
        return head

    async def send(self, data: bytes) -> None:
        """Send bytes; waits while the peer does not read."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent_bytes += len(data)

    async def closed_by_peer(self) -> None:
        """Wait until the peer has closed or cut the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Cut the connection, what was not sent yet included."""
        self.writer.transport.abort()


class RawServer:
    """``serve`` is run for each connection, which is closed when it returns."""

    def __init__(self, serve: Callable[[RawConnection], Awaitable[None]]) -> None:
        self.connections: Seen[RawConnection] = Seen()
        self.url = ""
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, _HOST, 0)
        self.url = f"http://{_HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RawConnection(len(self.connections) + 1, reader, writer)
        self.connections.append(connection)
        task = asyncio.create_task(self._run(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, connection: RawConnection) -> None:
        try:
            await self._serve(connection)
        except ConnectionError:
            pass  # the peer was quicker
        finally:
            connection.writer.close()
