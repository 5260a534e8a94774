"""What is sent to a worker: a payload in an envelope, or anything with its proof beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypedDict

from pyworker.errors import BadRequest
from pyworker.wire import AuthData, dump, dump_auth_header

__all__ = ["Message", "Options", "Outgoing", "SessionOptions", "as_it_is", "enveloped", "outgoing"]

_JSON: Final = {"Content-Type": "application/json"}


class Message(NamedTuple):
    """A body and its headers."""

    body: bytes | None
    headers: Mapping[str, str]


class Outgoing(NamedTuple):
    """A request; ``message`` makes it complete with the proof that the engine sent it, and the session's id."""

    method: str
    route: str
    message: Callable[[AuthData, str | None], Message]


class Options(TypedDict, total=False):
    """What may be said of a request besides its payload.

    ``cost``: its workload, as it is claimed; in a session the session's. ``timeout_s``: for all of it, or until the
    first byte of a stream. ``body``: sent instead of a payload, as it is. ``headers``: for the worker and its model.
    """

    cost: float
    timeout_s: float | None
    method: str
    body: bytes
    headers: Mapping[str, str]


class SessionOptions(TypedDict, total=False):
    """What may be said of a session.

    ``lifetime``: s after its last request, 60 unless said otherwise. ``cost``: the workload that it reserves, 100
    unless said otherwise. ``on_close_payload`` goes to the model's ``on_close_route`` at its end. ``timeout_s``: until
    it is open.
    """

    lifetime: float
    cost: float
    on_close_route: str | None
    on_close_payload: Any
    timeout_s: float | None


def outgoing(route: str, payload: Mapping[str, Any] | None, options: Options) -> Outgoing:
    """An envelope with the payload, or the request without one. Raises BadRequest when it can be neither."""
    method, body, headers = options.get("method", "POST").upper(), options.get("body"), options.get("headers") or {}
    if payload is not None and (body is not None or method in {"GET", "HEAD"}):
        raise BadRequest(f"{method} {route}: give a payload, or a body, or a method that has neither")
    if body is None and method == "POST":
        return enveloped(route, payload or {}, headers)
    if payload is not None:
        body, headers = dump(payload), {**_JSON, **headers}
    return as_it_is(method, route, body, headers)


def enveloped(route: str, payload: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Outgoing:
    """A payload in an envelope."""
    told = {**(headers or {}), **_JSON}

    def message(auth_data: AuthData, session_id: str | None) -> Message:
        return Message(dump({"auth_data": auth_data, "payload": payload, "session_id": session_id}), told)

    return Outgoing("POST", route, message)


def as_it_is(method: str, route: str, body: bytes | None, headers: Mapping[str, str]) -> Outgoing:
    """Any method and body; the proof goes as a header."""

    def message(auth_data: AuthData, session_id: str | None) -> Message:
        return Message(body, {**headers, "X-Auth-Data": dump_auth_header(auth_data, session_id)})

    return Outgoing(method, route, message)
