"""Answers that are ours: JSON, and what the log says of a refusal."""

from __future__ import annotations

import logging

from aiohttp import web

from pyworker.errors import AuthenticationFailed, PyWorkerError
from pyworker.wire import dump

__all__ = ["json_response", "log_refusal"]

log = logging.getLogger("pyworker.answers")


def json_response(message: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=dump(message), status=status, headers=headers, content_type="application/json")


def log_refusal(method: str, path: str, error: PyWorkerError) -> None:
    """Why a request was not let in, or failed on our side; what is plainly the client's fault is not logged."""
    if isinstance(error, AuthenticationFailed):
        log.warning("refused %s %s: %s", method, path, error.detail)
    elif error.status >= 500:
        log.warning("%s %s: %d %s", method, path, error.status, str(error))
