"""Sockets: listening, TLS, and TCP keep-alive so that a connection idle for half an hour of model work is not cut."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Any

from pyworker.errors import ConfigurationError

__all__ = [
    "BACKLOG",
    "FIRST_REQUEST_S",
    "KEEP_ALIVE_S",
    "LINGER_S",
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "MAX_LINE_BYTES",
    "end_when_silent",
    "keep_alive",
    "keep_alive_socket",
    "listen",
    "reset",
    "server_tls",
    "tls_for_workers",
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
UNHEARD_MS = (IDLE_S + PROBES * INTERVAL_S) * 1000
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


def keep_alive_socket(address: Any) -> socket.socket:
    """aiohttp's ``socket_factory``: a socket that is probed while a model works and nothing is sent."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    keep_alive(sock)
    return sock


def server_tls(files: tuple[str, str] | None) -> ssl.SSLContext | None:
    """To serve https with a certificate and its key, PEM files; None without. Raises ConfigurationError."""
    if files is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(*files)
    except (OSError, ssl.SSLError) as error:
        certificate, key = files
        raise ConfigurationError(
            f"--tls-cert {certificate} and --tls-key {key} cannot be used ({error}): give a certificate and its key, "
            "both as PEM files"
        ) from None
    return context


def tls_for_workers(root_pem: bytes) -> ssl.SSLContext:
    """What checks workers' certificates, which an engine's own root has signed."""
    context = ssl.create_default_context(cadata=root_pem.decode(errors="replace"))
    # Roots in the field lack keyCertSign, which OpenSSL 3 refuses when strict.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def end_when_silent(sock: Any) -> None:
    """End a connection whose other side has not confirmed what was sent for as long as a silent one gets.

    The system would try for a quarter of an hour; only Linux can be told not to.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is not None and option is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, option, UNHEARD_MS)


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
