"""Sockets: listening, and TCP keep-alive so that a connection idle for half an hour of model work is not cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from pyworker.errors import ConfigurationError

__all__ = [
    "FIRST_REQUEST_S",
    "KEEP_ALIVE_S",
    "LINGER_S",
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "MAX_LINE_BYTES",
    "keep_alive",
    "listen",
    "reset",
]

FIRST_REQUEST_S = 20.0  # for a new connection to send the head of a request
KEEP_ALIVE_S = 75.0  # between two requests
MAX_LINE_BYTES = 8 * 1024  # a request's first line
MAX_HEAD_BYTES = 64 * 1024  # all that comes before its body
MAX_HEADERS = 128
LINGER_S = 2.0  # for the rest of a body that nobody reads

IDLE_S = 60
INTERVAL_S = 15
PROBES = 4
BACKLOG = 1024


def keep_alive(sock: Any) -> None:
    """Probe after a minute of silence. Sockets accepted from a listening one inherit it."""
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)  # the latter on macOS
    if idle is not None:
        sock.setsockopt(socket.IPPROTO_TCP, idle, IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)


def reset(transport: asyncio.Transport) -> None:
    """Close a connection so that the other side sees an error and no end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def listen(host: str, port: int, variable: str = "WORKER_PORT") -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises ConfigurationError when the port is taken, naming the variable that sets it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keep_alive(sock)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; set {variable} to a free port"
        ) from None
    return sock
