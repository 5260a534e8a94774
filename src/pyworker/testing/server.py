"""An HTTP server on a real socket that does as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import defaultdict, deque
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from pyworker.testing.behaviours import answer
from pyworker.testing.request import Behaviour, Connection, FakeRequest
from pyworker.testing.seen import Seen

__all__ = ["FakeServer", "free_port"]

_HOST: Final = "127.0.0.1"
_NEVER_S: Final = 1e6


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, for a process that cannot be given port 0.

    It lies below those that the system hands out, so that nobody gets it by chance before it is used.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), _bound(port):
            return port


class FakeServer:
    """An HTTP server on a free port of 127.0.0.1, to be used with ``async with``.

    - ``on(path, ...)`` says what it does; ``default`` is what it does elsewhere.
    - ``requests`` is what was asked of it, which a test can also wait for: ``await server.requests.next()``.
    - With ``listening=False`` connections are refused until ``listen()``; ``stop_listening()`` cuts all connections,
      as the end of its process would.
    - With ``read_bodies=False`` a request is seen before its body is read, which is then up to the behaviour.
    - An idle connection is kept for ``keepalive_s``.
    """

    def __init__(
        self,
        *,
        default: Behaviour | None = None,
        listening: bool = True,
        read_bodies: bool = True,
        keepalive_s: float = _NEVER_S,
    ) -> None:
        self.requests: Seen[FakeRequest] = Seen()
        self.port = 0
        self._default = default or answer({"error": "no behaviour for this path"}, status=404)
        self._behaviours: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._listen_at_once = listening
        self._read_bodies = read_bodies
        self._keepalive_s = keepalive_s
        self._connections: dict[RequestHandler, Connection] = {}
        self._socket: socket.socket | None = None
        self._listener: asyncio.Server | None = None
        self._web: web.Server | None = None

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{_HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many connections are open to it."""
        return sum(1 for _ in self._transports())

    def on(self, path: str, *behaviours: Behaviour) -> None:
        """What to do with requests for ``path``: each behaviour once, in this order, and the last from then on.

        Without any, it goes back to what it does by itself.
        """
        self._behaviours[path] = deque(behaviours)

    async def listen(self) -> None:
        """Take connections (again)."""
        if self._socket is None:
            self._socket = _bound(self.port)
        handlers = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=self._keepalive_s,
            auto_decompress=False,
        )
        self._web = handlers
        self._listener = await asyncio.get_running_loop().create_server(handlers, sock=self._socket)

    async def stop_listening(self) -> None:
        """Refuse connections, and cut those there are. The port is held, so that nobody else gets it."""
        await self._close()
        self._socket = _bound(self.port)

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for _, transport in self._transports():
            transport.abort()
        if self._web is not None:
            await self._web.shutdown(timeout=1.0)
        if self._socket is not None:
            self._socket.close()
        self._listener = self._web = self._socket = None

    def close_idle(self) -> int:
        """Close the connections that no request is on, as a model server does after a while; says how many."""
        idle = [transport for handler, transport in self._transports() if not self._connection(handler).busy]
        for transport in idle:
            transport.close()
        return len(idle)

    async def __aenter__(self) -> Self:
        self._socket = _bound(0)
        self.port = self._socket.getsockname()[1]
        if self._listen_at_once:
            await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def _transports(self) -> Iterator[tuple[RequestHandler, asyncio.Transport]]:
        for handler in self._web.connections if self._web else ():
            transport = handler.transport
            if transport is not None and not transport.is_closing():
                yield handler, transport

    def _connection(self, handler: RequestHandler) -> Connection:
        return self._connections.setdefault(handler, Connection(len(self._connections) + 1))

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        connection = self._connection(incoming.protocol)
        connection.requests += 1
        connection.busy = True
        request = FakeRequest(incoming, connection)
        if self._read_bodies:
            with contextlib.suppress(web.RequestPayloadError):
                await request.read_body()
        self._record(request)
        return await request.answered_by(self._behaviour(request))

    def _behaviour(self, request: FakeRequest) -> Behaviour:
        behaviours = self._behaviours[request.path]
        if len(behaviours) > 1:
            return behaviours.popleft()
        return behaviours[0] if behaviours else self._own(request)

    def _record(self, request: FakeRequest) -> None:
        """Where a request is noted; for subclasses to note some elsewhere."""
        self.requests.append(request)

    def _own(self, _request: FakeRequest) -> Behaviour:
        """What it does where the test has said nothing; for subclasses."""
        return self._default


def _bound(port: int) -> socket.socket:
    """A socket that holds a port; connections are refused until somebody listens on it."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((_HOST, port))
    except OSError:
        held.close()
        raise
    return held
