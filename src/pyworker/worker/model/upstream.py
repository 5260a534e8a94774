"""HTTP/1.1 to the model server: pooled connections, one safe retry.

Every request goes this way, without the price of a general HTTP client. A connection is kept while the model
server keeps it (its ``Keep-Alive: timeout``, else IDLE_S), and there is no limit to their number: how many
requests are at work is the ledger's business.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import yarl

from pyworker.errors import ModelFailed, ModelUnreachable
from pyworker.worker.model.connection import IDLE_S, Answer, AnswerT, Body, ClosedEarlyError, Connection, RawHeaders

__all__ = ["CONNECT_TIMEOUT_S", "ModelServer"]

CONNECT_TIMEOUT_S = 10.0
_URLS_REMEMBERED = 1000


class ModelServer:
    """The model server at ``base_url`` (``http[s]://host:port[/path]``) and the open connections to it."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._urls: dict[str, yarl.URL] = {}
        parts = urlsplit(base_url)
        self._host = parts.hostname or "127.0.0.1"
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._base_path = parts.path.rstrip("/")
        self._host_line = b"Host: " + parts.netloc.rpartition("@")[2].encode()
        self._idle: list[Connection] = []
        self._reaper: asyncio.TimerHandle | None = None

    async def send(self, method: str, target: str, headers: RawHeaders, body: Body = ()) -> Answer:
        """Send a request; returns when the answer's head is there. Use the Answer in ``async with``.

        Raises ModelUnreachable, ModelFailed.
        """
        return await self.send_for(Answer, method, target, headers, body)

    async def send_for(
        self, answer: Callable[[Connection], AnswerT], method: str, target: str, headers: RawHeaders, body: Body = ()
    ) -> AnswerT:
        """The same with an Answer of another kind.

        ``target`` is path and query. A body given as pieces gets a Content-Length; one given as a stream is sent
        chunked unless the headers name its length. A kept connection that the model server closed before any byte of
        the answer is replaced once; a stream cannot be sent again, so it gets a new one. Raises ModelUnreachable,
        ModelFailed.
        """
        head = self._head(method, target, headers, body)
        connection = (self._take() if isinstance(body, tuple) else None) or await self._connect()
        try:
            return await connection.exchange(method, head, body, answer(connection))
        except ClosedEarlyError:
            if not connection.reused:
                raise ModelFailed("the model server closed the connection without an answer") from None
        try:
            connection = await self._connect()
            return await connection.exchange(method, head, body, answer(connection))
        except ClosedEarlyError:
            raise ModelFailed("the model server closed the connection without an answer") from None

    def url(self, target: str) -> yarl.URL:
        """The whole URL of a path on the model server."""
        url = self._urls.get(target)
        if url is None:
            url = yarl.URL(self._base_url + target, encoded=True)
            if len(self._urls) < _URLS_REMEMBERED:
                self._urls[target] = url
        return url

    async def accepts_connections(self) -> None:
        """Open and close a connection. Raises ModelUnreachable."""
        (await self._connect()).abort()

    def close(self) -> None:
        """Close all idle connections."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        while self._idle:
            self._idle.pop().abort()

    def _head(self, method: str, target: str, headers: RawHeaders, body: Body) -> bytes:
        lines = [f"{method} {self._base_path}{target} HTTP/1.1".encode(), self._host_line]
        lines += [b"%b: %b" % header for header in headers]
        if isinstance(body, tuple):
            if body or not (method in {"GET", "HEAD"} or _name_length(headers)):
                lines.append(b"Content-Length: %d" % sum(map(len, body)))
        elif not _name_length(headers):
            lines.append(b"Transfer-Encoding: chunked")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._release), self._host, self._port, ssl=self._tls
                )
        except OSError as error:  # TimeoutError is one
            raise ModelUnreachable(
                f"the model server at {self._host}:{self._port} does not accept connections: "
                f"{error.strerror or type(error).__name__}"
            ) from None
        return connection

    def _take(self) -> Connection | None:
        """The connection used last that is still good."""
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_until_s > now_s:
                connection.reused = True
                return connection
            connection.abort()
        return None

    def _release(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_until_s = loop.time() + connection.idle_s
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = loop.call_later(IDLE_S, self._reap)

    def _reap(self) -> None:
        """Close what has been idle for too long; come back while there is anything."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        keep = [one for one in self._idle if one.is_open and one.idle_until_s > now_s]
        for connection in set(self._idle) - set(keep):
            connection.abort()
        self._idle = keep
        self._reaper = loop.call_later(IDLE_S, self._reap) if keep else None


def _name_length(headers: RawHeaders) -> bool:
    return any(name.lower() == b"content-length" for name, _ in headers)
