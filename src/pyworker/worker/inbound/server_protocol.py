"""aiohttp's server at its sockets: what it takes of a request's head, and what it answers where there is no request."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import HttpRequestParserPy

from pyworker.errors import HeadTooLarge
from pyworker.net import KEEP_ALIVE_S, LINGER_S, MAX_HEAD_BYTES
from pyworker.worker.inbound.answers import json_response, raw_refusal

__all__ = ["ServerProtocol"]

log = logging.getLogger("pyworker.app")

# above ours, which are checked here and in ``app``: a parser counts line by line, and each one in its own way
_PARSER_LIMITS: Any = {
    "max_line_size": 2 * MAX_HEAD_BYTES,
    "max_field_size": 2 * MAX_HEAD_BYTES,
    "max_headers": MAX_HEAD_BYTES,
}


class ServerProtocol(web.RequestHandler):
    """aiohttp's, but what is no HTTP is told so in JSON too, and none of it gets into the log.

    ``any_method``: also those that the quick parser does not know.
    """

    __slots__ = ("_head_bytes", "_is_refused")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, *, any_method: bool) -> None:
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False, **_PARSER_LIMITS}
        super().__init__(server, loop=loop, keepalive_timeout=KEEP_ALIVE_S, lingering_time=LINGER_S, **options)
        self._head_bytes = 0  # of a head that is not complete
        self._is_refused = False
        if any_method:
            self._parser = HttpRequestParserPy(
                self,
                loop,
                self._read_bufsize,
                payload_exception=web.RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=self._max_msg_queue_size,
                **_PARSER_LIMITS,
            )

    def data_received(self, data: bytes) -> None:
        """Count what comes of a head, which the parser bounds line by line only."""
        if self._is_refused:
            return
        awaits_head = not self._messages and (self._waiter is not None or self._request_count == 0)
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if awaits_head and not self._messages else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()

    def _refuse_head(self) -> None:
        """Answer, and read on for a moment: to close at once would reset the connection, answer and all."""
        transport, error = self.transport, HeadTooLarge()
        self._is_refused = True
        if transport is None:
            return
        transport.write(raw_refusal(error))
        if transport.can_write_eof():
            transport.write_eof()
            self._loop.call_later(LINGER_S, transport.close)
        else:
            transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer what aiohttp could not read."""
        log.debug("a request that is no HTTP: %s", type(exc).__name__)
        if isinstance(exc, LineTooLong):
            error = HeadTooLarge()
            response = json_response(error.body(), error.status)
        else:
            response = json_response({"error": f"the request is not HTTP: {type(exc).__name__}"}, status)
        response.force_close()
        return response
