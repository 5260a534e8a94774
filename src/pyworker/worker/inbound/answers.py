"""Answers that are ours: JSON, and what the log says of a refusal."""

from __future__ import annotations

import asyncio
import http
import logging

from aiohttp import web

from pyworker.errors import AuthenticationFailed, PyWorkerError
from pyworker.wire import dump
from pyworker.worker.core.refusals import Refusals

__all__ = ["RefusalLog", "json_response", "raw_refusal"]

log = logging.getLogger("pyworker.answers")

EVERY_S = 1.0


def json_response(message: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=dump(message), status=status, headers=headers, content_type="application/json")


def raw_refusal(error: PyWorkerError) -> bytes:
    """The bytes of an answer where nobody has made a request of what came; the connection ends after it."""
    status, body = error.status, dump(error.body())
    head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


class RefusalLog:
    """What the log says of requests that were not let in, or failed on our side: a line a second for each reason.

    Anybody can be refused as often as he likes. What is plainly the client's fault is not logged.
    """

    def __init__(self) -> None:
        self._refusals = Refusals()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def add(self, method: str, path: str, error: PyWorkerError) -> None:
        """A request was answered with this error. ``path`` as it was sent: decoded, it may hold anything."""
        is_proof_missing = isinstance(error, AuthenticationFailed)
        if not is_proof_missing and error.status < 500:
            return
        reason = error.detail if is_proof_missing else f"{error.status} {error}"
        kind, is_first = self._refusals.add(reason)
        if is_first:
            log.warning("refused %s %s: %s" if is_proof_missing else "%s %s: %s", method, path, reason)
            self._look_again(kind)

    def _look_again(self, kind: str) -> None:
        self._timers[kind] = asyncio.get_running_loop().call_later(EVERY_S, self._tell_rest, kind)

    def _tell_rest(self, kind: str) -> None:
        del self._timers[kind]
        if self._told_rest(kind):
            self._look_again(kind)

    def _told_rest(self, kind: str) -> bool:
        count = self._refusals.rest(kind)
        if count:
            log.warning("and %d more: %s", count, kind)
        return bool(count)

    def close(self) -> None:
        """Tell what is untold."""
        for kind, timer in self._timers.items():
            timer.cancel()
            self._told_rest(kind)
        self._timers.clear()
