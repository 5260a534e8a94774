"""The aiohttp client to the model server that authors use for calls of their own (``backend.session``)."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import yarl

from pyworker.net import keep_alive
from pyworker.worker.model.connection import IDLE_S
from pyworker.worker.model.upstream import CONNECT_TIMEOUT_S

__all__ = ["make_session"]


def make_session(base_url: str) -> aiohttp.ClientSession:
    """A session whose relative paths are the model server's, without limit on connections and time.

    Without a model server ("") there are no relative paths.
    Made inside a running event loop; to be closed.
    """
    return aiohttp.ClientSession(
        base_url=yarl.URL(base_url.rstrip("/") + "/") if base_url else None,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, socket_factory=_socket),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _socket(address: Any) -> socket.socket:
    family, type_, proto, _, _ = address
    sock = socket.socket(family, type_, proto)
    keep_alive(sock)
    return sock
