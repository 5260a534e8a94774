"""The connections of a server: how many there may be, and how long one may take to ask for something.

Who has not asked yet has proved nothing, and must not use up what others need: open files, above all. A connection
gets FIRST_REQUEST_S for the head of its first request. When there are as many as there may be, those who have not asked
make room for those who come.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from aiohttp import web

from pyworker.net import BACKLOG, FIRST_REQUEST_S, KEEP_ALIVE_S, LINGER_S

__all__ = ["Connections", "SlowStarters", "most_connections", "raise_open_files_limit", "serving"]

MOST: Final = 20_000
MOST_OPEN_FILES: Final = 65_536
OTHER_FILES: Final = 64  # the store, logs, what is started and looked at


class SlowStarters:
    """Connections that have not sent the head of a request yet; they get FIRST_REQUEST_S, then they are closed."""

    def __init__(self) -> None:
        self._since_s: dict[asyncio.BaseProtocol, float] = {}  # oldest first

    def watched(self, protocol: web.RequestHandler) -> web.RequestHandler:
        """A new connection's protocol."""
        self._since_s[protocol] = time.monotonic()
        return protocol

    def has_asked(self, protocol: asyncio.BaseProtocol) -> None:
        """Its first request is there; or it has gone."""
        self._since_s.pop(protocol, None)

    def close_oldest(self) -> bool:
        """Make room for another. False when all have asked."""
        for protocol in self._since_s:
            self._close(protocol)
            return True
        return False

    async def close_forever(self) -> None:
        """Until cancelled: close those whose time is up."""
        while True:
            await asyncio.sleep(1.0)
            late_s = time.monotonic() - FIRST_REQUEST_S
            for protocol in [one for one, since_s in self._since_s.items() if since_s < late_s]:
                self._close(protocol)

    def _close(self, protocol: asyncio.BaseProtocol) -> None:
        del self._since_s[protocol]
        if isinstance(protocol, web.RequestHandler):
            protocol.force_close()


class Connections:
    """Those of one aiohttp server; ``most`` is how many there may be."""

    def __init__(self, server: web.Server, most: int) -> None:
        self.starters = SlowStarters()
        self._server = server
        self._most = most
        self._open: set[asyncio.BaseProtocol] = set()

    def protocol(self) -> web.RequestHandler:
        """For a new connection."""
        return _Protocol(self._server, asyncio.get_running_loop(), self)

    def admit(self, protocol: web.RequestHandler) -> bool:
        """Whether there is room for it."""
        if len(self._open) >= self._most and not self.starters.close_oldest():
            return False
        self._open.add(self.starters.watched(protocol))
        return True

    def forget(self, protocol: web.RequestHandler) -> None:
        """It is closed."""
        self._open.discard(protocol)
        self.starters.has_asked(protocol)


class _Protocol(web.RequestHandler):
    """aiohttp's, within bounds. Bodies come as they were sent: who reads one counts what it becomes."""

    __slots__ = ("_connections",)

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, connections: Connections) -> None:
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False}  # a log would hold keys
        super().__init__(server, loop=loop, keepalive_timeout=KEEP_ALIVE_S, lingering_time=LINGER_S, **options)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._connections.admit(self):
            super().connection_made(transport)
        else:
            cast("asyncio.Transport", transport).abort()  # uvloop's is none by its class

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._request_count:
            self._connections.starters.has_asked(self)


@asynccontextmanager
async def serving(app: web.Application, *, shutdown_s: float, **where: Any) -> AsyncGenerator[tuple[str, int]]:
    """Serve for as long as this is entered; gives host and port. What is being answered at the end gets ``shutdown_s``.

    ``where`` is ``create_server``'s: ``host`` and ``port``, or ``sock``; ``ssl``. Raises OSError when nobody may listen
    there.
    """
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=shutdown_s)
    await runner.setup()
    try:
        assert runner.server is not None
        connections = Connections(runner.server, most_connections())
        if where.get("ssl") is not None:
            where["ssl_handshake_timeout"] = FIRST_REQUEST_S
        server = await asyncio.get_running_loop().create_server(connections.protocol, backlog=BACKLOG, **where)
        watching = asyncio.create_task(connections.starters.close_forever())
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            watching.cancel()
            server.close()
    finally:
        await runner.cleanup()


def most_connections() -> int:
    """As many as the limit of open files allows when each needs another one, as in a gateway."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, (files - OTHER_FILES) // 2))


def raise_open_files_limit() -> None:
    """As far as this process may by itself, up to MOST_OPEN_FILES."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if files not in {resource.RLIM_INFINITY, wanted} and files < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
