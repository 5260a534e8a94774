"""One keep-alive connection of the load, spoken at protocol level so that the load is not what is measured."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

import httptools

__all__ = ["Connection", "Load", "StreamConnection"]


class Load(Protocol):
    """Whom a connection tells what happens to it."""

    def ready(self, connection: Connection) -> None:
        """A request may be sent now."""
        ...

    def answered(self, connection: Connection, status: int) -> None:
        """The answer has come, whole."""
        ...

    def received(self, connection: Connection, status: int, size_bytes: int, *, first: bool) -> None:
        """A part of a streamed answer has come."""
        ...

    def lost(self, connection: Connection) -> None:
        """The connection is gone; ``connection.busy`` says whether an answer was still to come."""
        ...


class Connection(asyncio.Protocol):
    """Sends one request at a time; ``began_s`` (perf_counter) is when the last one was sent."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.busy = False
        self.began_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._load.ready(self)

    def send(self, request: bytes) -> None:
        """Send a request; the time of its answer counts from here."""
        self.busy = True
        self.began_s = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        """Hang up, whatever is under way."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_message_complete(self) -> None:
        self.busy = False
        self._load.answered(self, self._parser.get_status_code())
        if self._parser.should_keep_alive():
            self._load.ready(self)
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self._load.lost(self)


class StreamConnection(Connection):
    """A connection that tells of every part of an answer."""

    waits = False  # for the first part of an answer

    def send(self, request: bytes) -> None:
        self.waits = True
        super().send(request)

    def on_body(self, body: bytes) -> None:
        first, self.waits = self.waits, False
        self._load.received(self, self._parser.get_status_code(), len(body), first=first)
