"""The fast lane: requests of pass-through routes, read and answered at asyncio.Protocol level.

The front of every connection. As long as its requests name a pass-through route they are served here, from socket to
socket, by the same ``Proxy``; at the first one that does not, the connection is handed to aiohttp, which has all
routes, with the bytes that have come. What is odd (HTTP/1.0, an upgrade, a request line that is no line) goes the same
way, so that there is one place where it is dealt with.
"""

from __future__ import annotations

import asyncio
import http
import logging
import time
from collections.abc import Callable, Mapping
from typing import cast

import httptools

from pyworker.errors import BadFraming, NotReady, PyWorkerError
from pyworker.net import FIRST_REQUEST_S, KEEP_ALIVE_S, LINGER_S
from pyworker.wire import dump
from pyworker.worker.inbound.answers import log_refusal
from pyworker.worker.inbound.fast_request import FastIncoming
from pyworker.worker.proxy import Proxy
from pyworker.worker.routes import Route

__all__ = ["FastLane", "FastRoutes"]

log = logging.getLogger("pyworker.fast_lane")

MAX_LINE_BYTES = 8 * 1024
MAX_HEAD_BYTES = 64 * 1024

FastRoutes = Mapping[tuple[bytes, bytes], Route]  # by method and path as they stand in the request line


class FastLane:
    """Makes a protocol for each connection; ``fallback`` makes aiohttp's."""

    def __init__(self, routes: FastRoutes, proxy: Proxy, fallback: Callable[[], asyncio.Protocol]) -> None:
        self.routes = routes
        self.proxy = proxy
        self.fallback = fallback
        self.draining = False
        self.connections: set[ClientConnection] = set()

    def connection(self) -> ClientConnection:
        """The protocol of a new connection."""
        return ClientConnection(self)

    async def close_idle_forever(self) -> None:
        """Until cancelled: close connections that wait too long for a request."""
        while True:
            await asyncio.sleep(1.0)
            now_s = time.monotonic()
            for connection in [one for one in self.connections if one.idle_until_s < now_s]:
                connection.close()

    def drain(self) -> None:
        """Answer what is asked, and close each connection after that."""
        self.draining = True
        for connection in list(self.connections):
            connection.close_if_idle()

    async def close(self) -> None:
        """End all requests and connections."""
        tasks = [task for one in self.connections if (task := one.task) is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for connection in list(self.connections):
            connection.close()


class ClientConnection(asyncio.Protocol):
    """One client's connection: idle, in the head of a request, or serving one."""

    def __init__(self, lane: FastLane) -> None:
        self.lost = False
        self.idle_until_s = time.monotonic() + FIRST_REQUEST_S
        self.task: asyncio.Task[None] | None = None
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._head = b""  # bytes of a request whose head is not complete
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._odd = False
        self._route: Route | None = None
        self._incoming: FastIncoming | None = None
        self._next = b""  # what came while a request was served
        self._drained: asyncio.Future[None] | None = None
        self._finished_early = False
        self._lingering = False
        self._paused = False

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._lane.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._incoming is not None:
            if self._incoming.stream.is_eof():
                self._next += data  # the next request, before this one is answered
                self.pause_reading()
            else:
                self._feed(data)
            return
        self._head += data
        if self._route is not None:
            self._feed(data)
        else:
            self._begin_request()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True
        self._lane.connections.discard(self)
        if self._incoming is not None:
            self._incoming.stream.feed_eof(lost=True)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # --- reading a request ---

    def _begin_request(self) -> None:
        """Look at the request line: ours, aiohttp's, or not complete yet."""
        end = self._head.find(b"\r\n")
        if end < 0:
            if len(self._head) > MAX_LINE_BYTES:
                self._hand_over()
            return
        method, _, rest = self._head[:end].partition(b" ")
        target, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            self._refuse(400, "the request is not HTTP/1.1")
            return
        route = self._lane.routes.get((method, target.partition(b"?")[0]))
        if route is None or version != b"HTTP/1.1":
            self._hand_over()
            return
        self._route, self._target, self._headers, self._odd = route, target, [], False
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._feed(self._head)

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._odd = True
        except httptools.HttpParserError:
            self._refuse(400, "the request is not HTTP")
            return
        if self._odd and self._incoming is None:
            self._hand_over()
        elif self._incoming is None and len(self._head) > MAX_HEAD_BYTES:
            self._refuse(431, "the request's headers are too large")

    def _hand_over(self) -> None:
        """From here on this connection is aiohttp's."""
        transport = self._transport
        assert transport is not None
        self._lane.connections.discard(self)
        protocol = self._lane.fallback()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        head, self._head = self._head, b""
        protocol.data_received(head)

    def _refuse(self, status: int, reason: str) -> None:
        if self._incoming is not None:  # who reads the body answers
            self._incoming.stream.fail(BadFraming)
            return
        body = dump({"error": reason})
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\n" % (
            status,
            http.HTTPStatus(status).phrase.encode(),
        )
        self.write(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        self._linger()

    def _linger(self) -> None:
        """End our side and read on for a moment: to close at once would reset the connection, answer and all."""
        self._lingering = True
        self.idle_until_s = time.monotonic() + LINGER_S
        self.resume_reading()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.close()

    def on_message_begin(self) -> None:
        if self._incoming is not None:  # a second request in the same piece: this connection ends after the first
            self._finished_early = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is None:
            self._headers.append((name, value))
            if len(name) == 7 and name.lower() == b"upgrade":
                self._odd = True

    def on_headers_complete(self) -> None:
        parser, route = self._parser, self._route
        if self._incoming is not None or self._odd or parser is None or route is None:
            return
        keep_alive = parser.should_keep_alive() and not self._lane.draining
        incoming = FastIncoming(self, parser.get_method(), self._target, self._headers, keep_alive=keep_alive)
        self._incoming, self._head, self.idle_until_s = incoming, b"", float("inf")
        self.task = asyncio.get_running_loop().create_task(self._serve(incoming, route))

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None and not self._finished_early:
            self._incoming.stream.feed(body)

    def on_message_complete(self) -> None:
        if self._incoming is not None and not self._finished_early:
            self._incoming.stream.feed_eof()

    # --- answering it ---

    async def _serve(self, incoming: FastIncoming, route: Route) -> None:
        try:
            await self._lane.proxy.handle(incoming, route)
        except PyWorkerError as error:
            log_refusal(incoming.method, incoming.path, error)
            incoming.answer_error(error)
        except ConnectionError:
            self.close()
        except asyncio.CancelledError:
            if not self.lost:  # the worker stops: its client must not wait
                incoming.answer_error(NotReady("the worker is stopping"))
            self.close()
            raise
        except Exception:
            log.exception("%s %s failed", incoming.method, incoming.path)
            incoming.answer_error(PyWorkerError("the worker failed on this request; its log has the trace"))
        finally:
            self.task = None
            self._request_done(incoming)

    def _request_done(self, incoming: FastIncoming) -> None:
        """Ready for the next request, or the end of the connection."""
        if self.lost or self._transport is None or self._transport.is_closing():
            return
        if not incoming.stream.is_eof():
            self._linger()
            return
        if not incoming.keep_alive or self._finished_early or self._lane.draining:
            self.close()
            return
        self._incoming = self._route = None
        self.idle_until_s = time.monotonic() + KEEP_ALIVE_S
        self.resume_reading()  # stopped, it may be, for a body that nobody read, or for the next request
        if self._next:
            self._head, self._next = self._next, b""
            self._begin_request()

    # --- used by the request and the lane ---

    def write(self, data: bytes) -> None:
        """Send bytes, if anybody is there."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    async def drain(self) -> None:
        """Until the client has caught up. Raises ConnectionResetError when it has gone."""
        if self.lost:
            raise ConnectionResetError("the client has gone")
        if self._drained is not None:
            await self._drained

    def pause_reading(self) -> None:
        """Let the client wait."""
        if self._transport is not None and not (self.lost or self._paused):
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._transport is not None and self._paused and not self.lost:
            self._paused = False
            self._transport.resume_reading()

    def close_if_idle(self) -> None:
        """Close it unless a request is being served."""
        if self._incoming is None:
            self.close()

    def close(self) -> None:
        """Close it when what was written has been sent."""
        if self._transport is not None:
            self._transport.close()
