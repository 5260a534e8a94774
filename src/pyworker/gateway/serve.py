"""A gateway as a process of its own, beside an engine elsewhere."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp import web

from pyworker import metrics
from pyworker.client.engine_calls import EngineCalls
from pyworker.connections import raise_open_files_limit, serving
from pyworker.gateway.gateway import Gateway
from pyworker.net import keep_alive_socket, listen, server_tls

__all__ = ["running_gateway", "serve"]

SHUTDOWN_S: Final = 30.0


@asynccontextmanager
async def running_gateway(
    engine_url: str, host: str = "127.0.0.1", port: int = 0, tls: tuple[str, str] | None = None
) -> AsyncGenerator[str]:
    """A gateway that serves at the url given while this is entered; answers on their way get SHUTDOWN_S at the end.

    ``tls`` are a certificate and its key, as PEM files. Raises ConfigurationError when the port is taken, or they are
    none.
    """
    sock = listen(host, port, "--port")
    connector = aiohttp.TCPConnector(limit=0, socket_factory=keep_alive_socket)
    async with aiohttp.ClientSession(connector=connector) as http:
        router = EngineCalls(http, engine_url.rstrip("/"), engine_url.rstrip("/"), "")
        async with (
            Gateway(router) as gateway,
            serving(_app(gateway), shutdown_s=SHUTDOWN_S, sock=sock, ssl=server_tls(tls)),
        ):
            shown = f"[{host}]" if ":" in host else host
            yield f"{'https' if tls else 'http'}://{shown}:{sock.getsockname()[1]}"


def _app(gateway: Gateway) -> web.Application:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def prometheus(_: web.Request) -> web.Response:
        body = metrics.exposition(gateway.meters.families)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/metrics", prometheus), *gateway.routes()])
    return app


async def serve(
    engine_url: str, host: str, port: int, tls: tuple[str, str] | None, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT. ``announce`` gets the url once it listens. Raises ConfigurationError."""
    raise_open_files_limit()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_gateway(engine_url, host, port, tls) as url:
        announce(url)
        await stop.wait()
