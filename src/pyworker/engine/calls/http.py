"""Small things every call of the engine needs: its body, its key, and errors as JSON."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Hashable
from functools import wraps
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from pyworker.engine.calls import cookie
from pyworker.engine.core.keys import owner
from pyworker.engine.core.limits import Buckets, source_of
from pyworker.engine.engine import Engine
from pyworker.engine.management import Management
from pyworker.engine.scaler import Scaler
from pyworker.errors import (
    BadRequest,
    InvalidJson,
    JsonDataException,
    Overloaded,
    PyWorkerError,
    TooManyCalls,
    WrongKey,
    WrongToken,
)
from pyworker.intake import Hold, Intake
from pyworker.wire import decode_object, dump

__all__ = [
    "ENGINE",
    "INTAKE",
    "MANAGEMENT",
    "SCALER",
    "account_only",
    "answer",
    "bearer",
    "body_of",
    "errors_as_json",
    "key_in",
    "limit",
    "read_body",
    "still_opens",
    "whole_number",
]

log = logging.getLogger("pyworker.engine")

ENGINE: Final = web.AppKey("engine", Engine)
MANAGEMENT: Final = web.AppKey("management", Management)
SCALER: Final = web.AppKey("scaler", Scaler)
INTAKE: Final = web.AppKey("intake", Intake)
_HOLD: Final = web.RequestKey("hold", Hold)
_BODY: Final = web.RequestKey("body", bytes)
MOST_DIGITS: Final = 20
ROUTE: Final = "/route/"
_BEARER: Final = "bearer "
_KEY: Final = web.RequestKey("key", str)  # what a call came with


def answer(message: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=dump(message), status=status, content_type="application/json")


async def read_body(request: web.Request, max_bytes: int | None = None) -> bytes:
    """The whole body in clear, read once. Raises BodyTooLarge, SlowBody, UnsupportedMedia, InvalidJson."""
    if _BODY not in request:
        hold = request[_HOLD]
        hold.max_body_bytes = min(max_bytes or hold.max_body_bytes, hold.max_body_bytes)
        encoding = request.headers.get("Content-Encoding")
        request[_BODY] = bytes(await hold.read_clear(request.content, request.content_length or 0, encoding))
    return request[_BODY]


def bearer(request: web.Request) -> str | None:
    """The token of ``Authorization: Bearer``."""
    value = request.headers.get("Authorization", "")
    return value[len(_BEARER) :].strip() or None if value.lower().startswith(_BEARER) else None


def key_in(request: web.Request, body_key: str | None = None) -> str | None:
    """The API key: from the header, the body, or the query, in this order."""
    return bearer(request) or body_key or request.query.get("api_key")


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object of a body; an empty one is an empty object. Raises InvalidJson."""
    body = await read_body(request)
    return decode_object(body) if body else {}


def account_only(call: Handler) -> Handler:
    """A call for those with an account key. One too many, or while the engine is busy, is turned away at once."""

    @wraps(call)
    async def guarded(request: web.Request) -> web.StreamResponse:
        engine = request.app[ENGINE]
        if engine.pressure.is_high:
            raise Overloaded(retry_after_s=1.0)
        body_key = None
        if bearer(request) is None and request.can_read_body:
            stated = (await body_of(request)).get("api_key")
            body_key = stated if isinstance(stated, str) else None
        key = key_in(request, body_key)
        request[_KEY] = key or ""
        account = _account(request, engine, key)
        request[_HOLD].vouch()
        limit(engine.limits.management, account)
        return await call(request)

    return guarded


def _account(request: web.Request, engine: Engine, key: str | None) -> str:
    """A name for whoever calls, by an account key or by a login at the dashboard. Raises WrongKey, CrossSite."""
    if key is None and cookie.token_in(request) is not None and cookie.opens(request):
        return cookie.account_of_login(request, engine).hex()
    engine.keys.require_account(key)
    return owner(key)


def still_opens(request: web.Request, engine: Engine) -> bool:
    """Whether the key or the login that opened a call which lasts would open it again."""
    try:
        _account(request, engine, request[_KEY] or None)
    except WrongKey:
        return False
    return True


def limit(buckets: Buckets, source: Hashable) -> None:
    """Raises TooManyCalls when the source has called too often."""
    wait_s = buckets.wait_s(source, time.monotonic())
    if wait_s > 0:
        raise TooManyCalls(retry_after_s=wait_s)


def whole_number(text: str, *, name: str = "an id") -> int:
    """Of the digits 0 to 9 only, so that each number is written in one way. Raises BadRequest when it is none."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MOST_DIGITS):
        raise BadRequest(f"{name} is a whole number, not {text[:40]!r}")
    return int(text)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error is ``{"success": false, "error": a word, "msg": what is wrong and what to do}``.

    What is read of a body counts among those of the unknown until the call is answered, or its key was good.
    """
    try:
        with request.app[INTAKE].hold() as request[_HOLD]:
            return await handler(request)
    except (JsonDataException, InvalidJson) as error:
        return _error(400, "bad_request", _reasons(error))
    except PyWorkerError as error:
        return _refused(_limited(request, error))
    except web.HTTPException as error:
        refused = _error(error.status, _word(error.reason), error.text or error.reason)
        refused.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
        return refused
    except ConnectionError:
        raise  # whoever called has gone: nobody to answer
    except Exception:
        log.exception("call failed", extra={"method": request.method, "path": request.path})
        return _error(500, "internal_error", "the engine failed on this call; its log has the trace")


def _limited(request: web.Request, error: PyWorkerError) -> PyWorkerError:
    """The error; or, to somebody who has failed to prove who they are too often, that they are to slow down.

    Who has the right key or mtoken is let in whoever else calls from the same address. A client takes anything from
    ``/route/`` as final: there a wrong key stays one.
    """
    if isinstance(error, WrongKey | WrongToken) and request.path != ROUTE:
        wait_s = request.app[ENGINE].limits.failures.wait_s(source_of(request.remote or ""), time.monotonic())
        if wait_s > 0:
            words = f"too many wrong keys or tokens from this address; the last: {error}"
            return TooManyCalls(words, retry_after_s=wait_s)
    return error


def _refused(error: PyWorkerError) -> web.Response:
    refused = _error(error.status, _word(type(error).__name__), str(error))
    refused.headers.update(error.headers())
    return refused


def _error(status: int, word: str, text: str) -> web.Response:
    return answer({"success": False, "error": word, "msg": text}, status)


def _reasons(error: JsonDataException | InvalidJson) -> str:
    return json.dumps(error.message) if isinstance(error, JsonDataException) else str(error)


def _word(name: str) -> str:
    """``WrongKey`` or ``Not Found`` as ``wrong_key``, ``not_found``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+", "_", name).lower()
