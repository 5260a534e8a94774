"""Every JSON that crosses a process, parsed and dumped here only.

Field names are those of deployed clients, workers and engines, spelling mistakes included. ``null`` means
"not given" everywhere; unknown fields are ignored.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

from pyworker.errors import InvalidJson, JsonDataException
from pyworker.fields import read_fields

__all__ = [
    "AuthData",
    "DeleteRequests",
    "EndpointInfo",
    "Envelope",
    "FinishedRequest",
    "Query",
    "RouteAnswer",
    "RouteRequest",
    "SessionQuery",
    "SessionSpec",
    "StatusReport",
    "TokenAnswer",
    "TokenRequest",
    "WaitingAnswer",
    "WorkerInfo",
    "WorkerStatus",
    "convert",
    "cost_is_valid",
    "decode_object",
    "dump",
    "dump_auth_header",
    "parse",
    "parse_auth_data",
    "parse_auth_header",
    "parse_envelope",
    "parse_route_answer",
    "route_answer",
]

Number = int | float


@dataclass(slots=True)
class AuthData:
    """What the engine's ``/route/`` answered and the client passes on: the proof that it sent this request.

    ``cost`` keeps the type it had in the JSON, because it was signed as it stood (242 is not 242.0).
    """

    cost: Number
    endpoint: str
    reqnum: int
    url: str
    signature: str
    request_idx: int = 0

    @classmethod
    def from_json_msg(cls, json_msg: dict[str, Any]) -> AuthData:
        """Parse the ``auth_data`` object of a request. Raises JsonDataException with a reason for each field."""
        return parse_auth_data(json_msg)


class Envelope(msgspec.Struct):
    """The body of a request to a worker; ``payload`` is still the bytes that were sent."""

    auth_data: AuthData
    payload: msgspec.Raw
    session_id: str | None = None


class SessionSpec(msgspec.Struct):
    """Payload of ``/session/create``; ``lifetime`` in s."""

    lifetime: Number = 60
    on_close_route: str | None = None
    on_close_payload: Any = None


class SessionQuery(msgspec.Struct):
    """Body of ``/session/get``, ``/session/health`` and ``/session/end``."""

    session_id: str
    session_auth: dict[str, Any]


class StatusReport(msgspec.Struct, kw_only=True):
    """Body of ``POST /worker_status/`` as a worker of ours sends it. Workload is in the worker's unit."""

    id: int
    mtoken: str
    version: str
    loadtime: float  # s from start to ready, 0.0 until ready
    new_load: float  # admitted less cancelled since the last delivered report
    cur_load: float  # in flight
    rej_load: float  # rejected since the last delivered report
    max_perf: float  # workload/s
    cur_perf: float  # served since the last delivered report
    error_msg: str
    num_requests_working: int
    num_requests_recieved: int
    working_request_idxs: list[int]
    additional_disk_usage: float  # GB since the last delivered report
    disk_usage: float  # GB
    url: str
    cur_capacity: float = 0
    max_capacity: float = 0
    state: str = ""  # ours: the readiness state, which an older engine ignores


class WorkerStatus(msgspec.Struct, kw_only=True):
    """The same message as an engine reads it: only ``id`` and ``mtoken`` are required."""

    id: int
    mtoken: str
    version: str | None = None
    loadtime: Number | None = None
    new_load: Number | None = None
    cur_load: Number | None = None
    rej_load: Number | None = None
    max_perf: Number | None = None
    cur_perf: Number | None = None
    error_msg: str | None = None
    num_requests_working: int | None = None
    num_requests_recieved: int | None = None
    working_request_idxs: list[int] | None = None
    additional_disk_usage: Number | None = None
    disk_usage: Number | None = None
    cur_capacity: Number | None = None
    max_capacity: Number | None = None
    url: str | None = None
    state: str | None = None


class FinishedRequest(msgspec.Struct):
    """One line of ``/delete_requests/``; times in epoch s, null where a request never came that far."""

    request_idx: int
    success: bool
    status: str  # Success, Error, Cancelled, Rejected
    entered_queue_at: float | None = None
    work_started_at: float | None = None
    work_completed_at: float | None = None
    workload: Number | None = None  # ours: as it was counted


class DeleteRequests(msgspec.Struct):
    """Body of ``POST /delete_requests/``."""

    worker_id: int
    mtoken: str
    requests: list[FinishedRequest]


class RouteRequest(msgspec.Struct):
    """Body of ``POST /route/``; ``wait`` (s) is ours: hold the call until a worker is free."""

    endpoint: str
    api_key: str | None = None
    cost: Number = 0
    request_idx: int | None = None
    replay_timeout: Number | None = None
    wait: Number | None = None


class RouteAnswer(msgspec.Struct, kw_only=True, rename={"request_uuid": "__request_id"}):
    """Answer of ``/route/`` when a worker is available; its fields are the ``auth_data`` of the request."""

    endpoint: str
    url: str
    cost: Number
    reqnum: int
    request_idx: int
    signature: str
    request_uuid: str = ""

    def auth_data(self) -> AuthData:
        """What the client passes on to the worker."""
        return AuthData(self.cost, self.endpoint, self.reqnum, self.url, self.signature, self.request_idx)


class WaitingAnswer(msgspec.Struct, kw_only=True, rename={"request_uuid": "__request_id"}):
    """Answer of ``/route/`` when no worker is available yet: no ``url``; ask again with this ``request_idx``."""

    endpoint: str
    status: str | dict[str, int] = ""  # in words, or how many workers are in which state
    benchmarking: int = 0  # how many of those in MODEL_LOADING have their model loaded and measure what it can do
    position: int = 0  # ours: in the line of those who wait, the first being 1
    estimate_s: float | None = None  # ours: until its turn comes; null while no worker's capacity is known
    request_idx: int = 0
    request_uuid: str = ""


class Query(msgspec.Struct):
    """Body of the calls that ask about one endpoint or workergroup: its workers, its log, its update.

    It is named by ``id`` or ``workergroup_id``, or an endpoint by its name in ``endpoint``.
    """

    id: int | None = None
    workergroup_id: int | None = None
    endpoint: str | None = None
    api_key: str | None = None
    tail: int | None = None  # of a log: at most so many lines of each level
    cancel_update: bool | None = None


class EndpointInfo(msgspec.Struct, kw_only=True):
    """An endpoint as the management calls list it; times in s, loads in workload/s."""

    id: int
    endpoint_name: str
    api_key: str  # the endpoint's own key, which opens its /route/ only
    created_at: float  # epoch s
    max_queue_time: float
    min_load: float = 1
    min_cold_load: float = 0
    target_util: float = 0.9
    cold_mult: float = 3
    cold_workers: int = 5
    max_workers: int = 16
    target_queue_time: float = 10
    inactivity_timeout: float | None = None
    key_requests_per_minute: float = 0  # with its own key; 0: no limit, here and below
    key_workload_per_minute: float = 0
    key_concurrent: int = 0
    endpoint_state: str = "active"
    user_id: int = 0
    auto_delete_in_seconds: float | None = None
    auto_delete_due_24h: bool = False


class WorkerInfo(msgspec.Struct, kw_only=True):
    """A worker as ``/get_endpoint_workers/`` lists it; its numbers are never null."""

    id: int
    status: str
    url: str
    cur_load: float
    new_load: float
    cur_load_rolling_avg: float
    cur_perf: float  # workload/s served over the last report interval
    perf: float  # measured_perf * reliability
    measured_perf: float  # workload/s
    dlperf: float
    reliability: float  # 0 to 1
    reqs_working: int
    disk_usage: float  # GB
    loaded_at: float  # epoch s, 0.0 until ready
    started_at: float  # epoch s, 0.0 until its first report
    workergroup_id: int = 0
    version: int = 1  # ours: of its group's launch
    error_msg: str = ""  # ours: why it is not ready
    number: int = 0  # ours: the engine's own for it, which no other has; commands take it as n<number>


class TokenRequest(msgspec.Struct):
    """Body of ``POST /api/v0/worker_tokens/``; ``signature_scheme`` asks for RSA signatures instead of tickets.

    Without a ``workergroup`` (by name) it is the endpoint's external one.
    """

    endpoint: str
    api_key: str | None = None
    workergroup: str | None = None
    signature_scheme: int | None = None
    url: str | None = None  # the worker's address, when it is known before its first report
    id: int | None = None


class TokenAnswer(msgspec.Struct, kw_only=True):
    """A new worker's secrets; the ticket key is base64url, null for a worker that gets RSA signatures."""

    endpoint: str
    mtoken: str
    ticket_key: str | None = None
    ticket_key_id: str | None = None
    success: bool = True


_LARGEST = sys.float_info.max

_T = TypeVar("_T")
_envelope = msgspec.json.Decoder(Envelope)
_object = msgspec.json.Decoder(dict[str, Any])
dump: Callable[[Any], bytes] = msgspec.json.Encoder().encode


def decode_object(body: bytes | memoryview) -> dict[str, Any]:
    """JSON bytes to a dict. Raises InvalidJson for anything that is not one JSON object."""
    try:
        return _object.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidJson(_not_an_object(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson() from None


def _not_an_object(error: str) -> str:
    return "invalid JSON: a number is out of range" if "range" in error else "invalid JSON: expected an object"


def parse(body: bytes | memoryview, type_: type[_T]) -> _T:
    """JSON bytes to a message. Raises InvalidJson, or JsonDataException naming each field that is wrong."""
    return type_(**read_fields(decode_object(body), type_))


def convert(message: Mapping[str, Any], type_: type[_T]) -> _T:
    """A decoded JSON object to a message. Raises JsonDataException naming each field that is wrong."""
    return type_(**read_fields(message, type_))


def parse_auth_data(message: Any) -> AuthData:
    """The ``auth_data`` object of a request. Raises JsonDataException with a reason for each field."""
    if not isinstance(message, dict):
        raise JsonDataException({"auth_data": "expected object"})
    auth_data = AuthData(**read_fields(cast("dict[str, Any]", message), AuthData))
    if not cost_is_valid(auth_data):
        raise JsonDataException({"cost": "must be a finite number, 0 or more"})
    return auth_data


def cost_is_valid(auth_data: AuthData) -> bool:
    """Whether the claimed cost is a finite number, 0 or more."""
    return 0 <= auth_data.cost <= _LARGEST  # an int may be larger than any float


def parse_envelope(body: bytes | memoryview) -> Envelope | None:
    """A well-formed envelope with its payload left as bytes.

    None when a field is missing or wrong: then decode_object() and parse_auth_data() find out which. Raises
    InvalidJson.
    """
    try:
        envelope = _envelope.decode(body)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson() from None
    return envelope if cost_is_valid(envelope.auth_data) else None


def dump_auth_header(auth_data: AuthData, session_id: str | None = None) -> str:
    """The value of ``X-Auth-Data``: base64url of the auth_data's JSON, and of the session's id beside it."""
    proof = dump(auth_data)
    if session_id is not None:
        proof = proof[:-1] + b',"session_id":' + dump(session_id) + b"}"
    return base64.urlsafe_b64encode(proof).decode()


def parse_auth_header(value: str) -> tuple[AuthData, str | None]:
    """Parse ``X-Auth-Data``; the session id is beside the claims when there is one. Raises JsonDataException."""
    try:
        message = decode_object(base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, InvalidJson):
        raise JsonDataException({"X-Auth-Data": "expected base64url of a JSON object"}) from None
    session_id = message.get("session_id")
    if not isinstance(session_id, str | None):
        raise JsonDataException({"X-Auth-Data": {"session_id": "expected string"}})
    try:
        return parse_auth_data(message), session_id
    except JsonDataException as error:
        raise JsonDataException({"X-Auth-Data": error.message}) from None


def parse_route_answer(body: bytes) -> RouteAnswer | WaitingAnswer:
    """What an engine's ``/route/`` answered. Raises InvalidJson, or JsonDataException when a field is wrong."""
    return route_answer(decode_object(body))


def route_answer(answered: Mapping[str, Any]) -> RouteAnswer | WaitingAnswer:
    """The same, decoded before. Raises JsonDataException when a field is wrong."""
    message = {name: value for name, value in answered.items() if value is not None}
    type_ = RouteAnswer if "url" in message else WaitingAnswer
    try:
        return msgspec.convert(message, type_)
    except msgspec.ValidationError as error:
        raise JsonDataException({"route": str(error)}) from None
