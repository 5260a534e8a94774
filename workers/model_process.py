"""A small HTTP server as a process of its own: what the model servers and the stand-ins of these workers share."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable

from aiohttp import web

__all__ = ["add_address_options", "bind", "run", "serve"]

DRAIN_S = 10.0


def add_address_options(parser: argparse.ArgumentParser, *, port: int) -> None:
    """``--host`` and ``--port``, with this one for a default."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="0 picks a free one (default: %(default)s)")


def bind(host: str, port: int) -> socket.socket:
    """Take the port, but refuse connections until somebody serves. Raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


async def serve(app: web.Application, listener: socket.socket, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``started`` is told the address. A client that leaves cancels its handler."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=DRAIN_S, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()[:2]
        started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        await stop.wait()
    finally:
        await runner.cleanup()


def run(make_app: Callable[[], web.Application], options: argparse.Namespace, started: Callable[[str], str]) -> int:
    """A whole program: take the port, make the application, print ``started(url)``, serve. Returns the exit status.

    ``make_app`` may take its time: connections are refused until it is done.
    """
    try:
        listener = bind(options.host, options.port)
    except OSError as error:
        sys.stdout.write(f"cannot start the model server on {options.host}:{options.port}: {error}\n")
        return 1

    def say(url: str) -> None:
        sys.stdout.write(started(url) + "\n")
        sys.stdout.flush()

    asyncio.run(_serve_made(make_app, listener, say))
    return 0


async def _serve_made(
    make_app: Callable[[], web.Application], listener: socket.socket, say: Callable[[str], None]
) -> None:
    await serve(await asyncio.to_thread(make_app), listener, say)
