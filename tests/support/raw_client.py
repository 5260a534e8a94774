"""A client that sends the bytes a test gives it, at the pace it gives them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["RawAnswer", "RawClient", "connected"]


@dataclasses.dataclass(frozen=True)
class RawAnswer:
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *pieces: bytes | str) -> None:
        """Send bytes, text as UTF-8; waits while the server does not read. Raises ConnectionError when it has gone."""
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the connection was cut")
        self._writer.write(b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces))
        await self._writer.drain()

    async def begin(self) -> bytes:
        """Read the head of an answer."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def answer(self, *, to_head: bool = False) -> RawAnswer:
        """Read one answer. Raises EOFError when the connection ends within it."""
        head = (await self.begin()).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return RawAnswer(int(status_line.split()[1]), headers, b"" if to_head else await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return b""
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body

    async def closed(self) -> bytes:
        """Wait until the server has closed the connection; what it still sent."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(65536):
                rest += data
        return rest

    def leave(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[RawClient]:
    """A connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
