"""What a caller of the gateway is told when something is wrong, in the words of the API that it speaks. Pure."""

from __future__ import annotations

import json
from typing import Any

from pyworker.errors import EngineRefused, PyWorkerError
from pyworker.wire import dump

__all__ = ["error_body", "error_event", "failed_event", "status_of"]

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


def status_of(error: PyWorkerError) -> int:
    """The HTTP status of an error; what the engine has refused keeps the engine's own."""
    return error.answered_status if isinstance(error, EngineRefused) else error.status


def error_body(status: int, text: str) -> dict[str, Any]:
    """An error as clients of the OpenAI API expect it."""
    return {"error": {"message": text, "type": _KINDS.get(status, "server_error"), "param": None, "code": status}}


def error_event(status: int, text: str) -> bytes:
    """The same as a server-sent event, for an answer whose head said 200 already."""
    return b"data: " + dump(error_body(status, text)) + b"\n\n"


def failed_event(status: int, body: bytes) -> bytes:
    """A worker's answer that is no success, as an event: in its own words."""
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and "error" in said:
        return b"data: " + dump(said) + b"\n\n"
    return error_event(status, body.decode(errors="replace")[:2000] or f"the worker answers {status}")
