"""The aiohttp client to the model server, for handlers whose authors see a ``ClientResponse``."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp import ClientTimeout, TraceConfig

from pyworker.errors import ModelFailed, ModelUnreachable
from pyworker.worker.net import keep_alive
from pyworker.worker.upstream import CONNECT_TIMEOUT_S, IDLE_S, RawHeaders

__all__ = ["ModelSession"]


class ModelSession:
    """A ``ClientSession`` without limit on connections and time, with one safe retry.

    Made inside a running event loop; ``session`` is what authors use, relative paths are the model server's.
    """

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        self._urls: dict[str, yarl.URL] = {}
        reuse = TraceConfig()
        reuse.on_connection_reuseconn.append(_note_reuse)
        parts = urlsplit(self._base)
        self.session = aiohttp.ClientSession(
            base_url=yarl.URL(self._base + "/") if parts.scheme else None,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, socket_factory=_socket, ttl_dns_cache=60),
            timeout=ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            trace_configs=[reuse],
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, method: str, target: str, data: Any, headers: RawHeaders) -> aiohttp.ClientResponse:
        """Send a request; returns at the head of the answer. Use the response in ``async with``.

        A kept connection that the model server closed before any byte of the answer is replaced once. Raises
        ModelUnreachable, ModelFailed.
        """
        url = self._url(target)
        text = [(_text(name), _text(value)) for name, value in headers]
        reused: dict[str, bool] = {}
        try:
            return await self._request(method, url, data, text, reused)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) or not reused or isinstance(data, aiohttp.FormData):
                raise _as_ours(error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _as_ours(error) from None
        try:
            return await self._request(method, url, data, text, {})
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _as_ours(error) from None

    async def _request(
        self, method: str, url: yarl.URL, data: Any, headers: list[tuple[str, str]], reused: dict[str, bool]
    ) -> aiohttp.ClientResponse:
        return await self.session.request(
            method, url, data=data, headers=headers, allow_redirects=False, trace_request_ctx=reused
        )

    def _url(self, target: str) -> yarl.URL:
        url = self._urls.get(target)
        if url is None:
            url = yarl.URL(self._base + target, encoded=True)
            if len(self._urls) < 1000:
                self._urls[target] = url
        return url

    async def close(self) -> None:
        """Close it and its connections."""
        await self.session.close()


def _as_ours(error: Exception) -> ModelUnreachable | ModelFailed:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ModelUnreachable(f"the model server does not accept connections: {error}")
    return ModelFailed(f"the model server closed the connection without an answer: {type(error).__name__}")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


async def _note_reuse(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
    reused: dict[str, bool] | None = context.trace_request_ctx  # None when the author uses the session
    if reused is not None:
        reused["reused"] = True


def _socket(address: Any) -> Any:
    family, type_, proto, _, _ = address
    sock = socket.socket(family, type_, proto)
    keep_alive(sock)
    return sock
