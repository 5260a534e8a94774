"""The fast lane: requests of pass-through routes, read and answered at asyncio.Protocol level.

The front of every connection. As long as its requests name a pass-through route they are served here, from socket to
socket, by the same ``Proxy``; at the first one that does not, the connection is handed to aiohttp, which has all
routes, with the bytes that have come. What is odd (HTTP/1.0, an upgrade, a request line that is no line) goes the same
way, so that there is one place where it is dealt with.

A connection is in one state at a time:

    IDLE ──a request line of ours──▶ HEAD ──its headers──▶ BODY ──the last byte──▶ ANSWERING ──kept──▶ IDLE
      │                               │                     │                          │
      ├── another's, or odd ◀─────────┤                     │ answered before its end  │ not kept
      ▼                               ▼                     ▼                          ▼
    HANDED_OVER                      no HTTP ──────▶ LINGERING ──its time is up──▶   closed ──▶ LOST
                                                                         (from anywhere: the client leaves)

What comes in each state: IDLE, HEAD and BODY take it in; ANSWERING keeps it for later and stops reading; LINGERING
throws it away.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Mapping
from typing import cast

import httptools

from pyworker.errors import BadFraming, HeadTooLarge, NoHttp, NotReady, PyWorkerError
from pyworker.net import FIRST_REQUEST_S, KEEP_ALIVE_S, LINGER_S, MAX_HEAD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from pyworker.worker.inbound.answers import RefusalLog, raw_refusal
from pyworker.worker.inbound.fast_request import FastIncoming
from pyworker.worker.proxy import Proxy
from pyworker.worker.routes import Route

__all__ = ["FastLane", "FastRoutes"]

log = logging.getLogger("pyworker.fast_lane")

FastRoutes = Mapping[tuple[bytes, bytes], Route]  # by method and path as they stand in the request line


class _State(enum.Enum):
    """Where a connection is: see the module."""

    IDLE = "idle"  # no request, or less than its first line
    HEAD = "head"  # a request for one of our routes, its headers not complete
    BODY = "body"  # the request is served, its body still coming
    ANSWERING = "answering"  # the request is served, and has come whole
    LINGERING = "lingering"  # we have ended our side
    HANDED_OVER = "handed over"  # it is aiohttp's
    LOST = "lost"  # it is closed


_IDLE, _HEAD, _BODY, _ANSWERING, _LINGERING, _HANDED_OVER, _LOST = _State  # looked up faster than _State.IDLE


class FastLane:
    """Makes a protocol for each connection; ``fallback`` makes aiohttp's."""

    def __init__(
        self, routes: FastRoutes, proxy: Proxy, refusals: RefusalLog, fallback: Callable[[], asyncio.Protocol]
    ) -> None:
        self.routes = routes
        self.proxy = proxy
        self.refusals = refusals
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
    """One client's connection."""

    def __init__(self, lane: FastLane) -> None:
        self.idle_until_s = time.monotonic() + FIRST_REQUEST_S
        self.task: asyncio.Task[None] | None = None  # that serves the request
        self._state = _IDLE
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._head = b""  # what has come of a request whose head is not complete
        self._route: Route | None = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._odd = False
        self._incoming: FastIncoming | None = None  # the request that is served
        self._next = b""  # what came while it was answered
        self._drained: asyncio.Future[None] | None = None
        self._paused = False

    @property
    def lost(self) -> bool:
        """Whether nobody is there any more."""
        return self._state is _LOST

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._lane.connections.add(self)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _IDLE:
            self._head += data
            self._begin_request()
        elif state is _BODY:
            self._feed(data)
        elif state is _HEAD:
            self._head += data
            self._feed(data)
        elif state is _ANSWERING:
            self._next += data
            self.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._state = _LOST
        self._lane.connections.discard(self)
        if self._incoming is not None:
            self._incoming.stream.feed_eof(lost=True)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self.task is not None:
            self.task.cancel()
        self._incoming = self._parser = None  # which know this connection: a circle

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
        if (len(self._head) if end < 0 else end) > MAX_LINE_BYTES:
            self._refuse(HeadTooLarge())
            return
        if end < 0:
            return
        method, _, rest = self._head[:end].partition(b" ")
        target, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            self._refuse(NoHttp())
            return
        route = self._lane.routes.get((method, target.partition(b"?")[0]))
        if route is None or version != b"HTTP/1.1":
            self._hand_over()
            return
        self._state = _HEAD
        self._route, self._target, self._headers, self._odd = route, target, [], False
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._feed(self._head)

    def _feed(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        is_head = self._state is _HEAD
        if is_head and len(self._head) > MAX_HEAD_BYTES and self._head.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) < 0:
            self._refuse(HeadTooLarge())
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._odd = True
        except httptools.HttpParserError:
            self._refuse(NoHttp())
            return
        if self._state is not _HEAD:
            return
        if len(self._headers) > MAX_HEADERS:
            self._refuse(HeadTooLarge())
        elif self._odd:
            self._hand_over()

    def _hand_over(self) -> None:
        """From here on this connection is aiohttp's."""
        transport = self._transport
        assert transport is not None
        self._state, self._parser = _HANDED_OVER, None
        self._lane.connections.discard(self)
        protocol = self._lane.fallback()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        head, self._head = self._head, b""
        protocol.data_received(head)

    def _refuse(self, error: PyWorkerError) -> None:
        if self._incoming is not None:  # who reads the body answers
            self._incoming.stream.fail(BadFraming)
            return
        self.write(raw_refusal(error))
        self._linger()

    def _linger(self) -> None:
        """End our side and read on for a moment: to close at once would reset the connection, answer and all."""
        self._state = _LINGERING
        self.idle_until_s = time.monotonic() + LINGER_S
        self.resume_reading()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self.close()

    # --- httptools ---

    def on_message_begin(self) -> None:
        if self._incoming is not None:  # a second request in the same piece: this connection ends after the first
            self._incoming.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state is _HEAD:  # else it is a trailer, or of a second request
            self._headers.append((name, value))
            if len(name) == 7 and name.lower() == b"upgrade":
                self._odd = True

    def on_headers_complete(self) -> None:
        parser, route = self._parser, self._route
        if self._state is not _HEAD or self._odd or parser is None or route is None:
            return
        if len(self._headers) > MAX_HEADERS:
            return
        keep_alive = parser.should_keep_alive() and not self._lane.draining
        incoming = FastIncoming(self, parser.get_method(), self._target, self._headers, keep_alive=keep_alive)
        self._state, self._incoming, self._head, self.idle_until_s = _BODY, incoming, b"", float("inf")
        self.task = asyncio.get_running_loop().create_task(self._serve(incoming, route))

    def on_body(self, body: bytes) -> None:
        if self._state is _BODY and self._incoming is not None:
            self._incoming.stream.feed(body)

    def on_message_complete(self) -> None:
        if self._state is _BODY and self._incoming is not None:
            self._state = _ANSWERING
            self._incoming.stream.feed_eof()

    # --- answering it ---

    async def _serve(self, incoming: FastIncoming, route: Route) -> None:
        try:
            await self._lane.proxy.handle(incoming, route)
        except PyWorkerError as error:
            self._lane.refusals.add(incoming.method, incoming.path, error)
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
        if self._state is _BODY:
            self._linger()
        elif self._state is _ANSWERING and incoming.keep_alive and not self._lane.draining:
            self._await_request()
        else:
            self.close()

    def _await_request(self) -> None:
        self._state, self._incoming, self._route = _IDLE, None, None
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
        if self._state is _IDLE or self._state is _HEAD:
            self.close()

    def close(self) -> None:
        """Close it when what was written has been sent."""
        if self._transport is not None:
            self._transport.close()
