"""The messages of managing an engine, beside those of ``wire.py``: endpoints, workergroups, logs, keys, the store.

Pure, as ``wire.py`` is. ``null`` means "not given", unknown fields are ignored.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from pyworker.errors import InvalidJson, JsonDataException, NotFound
from pyworker.fields import read_fields
from pyworker.wire import decode_object

__all__ = [
    "BackupRequest",
    "EndpointKey",
    "EndpointLogs",
    "EndpointName",
    "EndpointRequest",
    "GroupInfo",
    "GroupRequest",
    "KeyAnswer",
    "KeyChange",
    "KeyInfo",
    "KeyRequest",
    "RotateRequest",
    "WorkerLogs",
    "parse_id",
    "parse_list",
]


class EndpointName(msgspec.Struct):
    """An endpoint in a list of them, for who wants to know no more."""

    endpoint_name: str


class EndpointRequest(msgspec.Struct, kw_only=True):
    """What the body that makes or changes an endpoint has beside its parameters."""

    endpoint_name: str | None = None
    endpoint_state: str | None = None  # active or stopped
    auto_delete_in_seconds: float | None = None  # from now on


class GroupRequest(msgspec.Struct, kw_only=True):
    """What the body that makes or changes a workergroup has beside its parameters."""

    endpoint_id: int | None = None
    endpoint_name: str | None = None
    template_hash: str | None = None  # a workergroup of a deployment, by its name
    template_id: Any = None  # means nothing here
    provider: str | None = None


class GroupInfo(msgspec.Struct, kw_only=True):
    """A workergroup as the management calls list it. Its environment is not shown: it may hold secrets."""

    id: int
    endpoint_id: int
    endpoint_name: str
    template_hash: str = ""  # its name in the endpoint's deployment
    name: str = ""
    provider: str = ""
    max_workers: int | None = None
    test_workers: int = 3
    signature_scheme: int | None = None
    drain_s: float = 30.0
    command: list[str] | None = None  # of the worker
    model_command: list[str] | None = None
    version: int = 1
    updating_from: int | None = None  # the version before, while a rolling update is under way
    created_at: float = 0.0  # epoch s
    condition: str = ""  # in words: what one worker can do, an update, why no more are started


class EndpointLogs(msgspec.Struct):
    """Answer of ``/get_endpoint_logs/`` and ``/get_workergroup_logs/``: the last lines of each level."""

    info0: str = ""
    info1: str = ""
    trace: str = ""
    debug: str = ""


class KeyInfo(msgspec.Struct, kw_only=True):
    """An account's key as ``GET /api/v0/keys/`` lists it: never the key itself."""

    id: int
    name: str = ""
    created_epoch_s: float = 0.0
    revoked_epoch_s: float | None = None
    last_used_epoch_s: float | None = None
    requests_per_minute: float = 0.0  # 0: no limit, here and below
    workload_per_minute: float = 0.0
    concurrent: int = 0


class KeyChange(msgspec.Struct, kw_only=True):
    """Body of ``PUT /api/v0/keys/{id}/``: other limits; null leaves one as it is, 0 takes it away."""

    requests_per_minute: float | None = None
    workload_per_minute: float | None = None
    concurrent: int | None = None


class KeyRequest(KeyChange, kw_only=True):
    """Body of ``POST /api/v0/keys/``; the name is for people."""

    name: str


class KeyAnswer(msgspec.Struct, kw_only=True):
    """A new account key, which is shown this once."""

    id: int
    api_key: str
    name: str = ""
    success: bool = True


class EndpointKey(msgspec.Struct, kw_only=True):
    """Answer of ``POST /api/v0/endptjobs/{id}/key/``: the endpoint's new key of its own."""

    api_key: str
    success: bool = True


class RotateRequest(msgspec.Struct):
    """Body of ``POST /api/v0/keys/rotate/``: ``rsa`` or ``ticket``."""

    kind: str


class BackupRequest(msgspec.Struct):
    """Body of ``POST /api/v0/backup/``: a new folder on the engine's machine, as an absolute path."""

    path: str


class WorkerLogs(msgspec.Struct, kw_only=True):
    """Answer of ``GET /api/v0/workers/{id}/logs/``: the last lines of each log, by its name."""

    logs: dict[str, list[str]]
    success: bool = True


_T = TypeVar("_T")


def parse_list(body: bytes, type_: type[_T]) -> list[_T]:
    """The objects of a JSON array, or of ``results`` in a JSON object.

    Raises InvalidJson, JsonDataException; NotFound in an engine's words when it answers ``{"error_msg"}``.
    """
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson() from None
    if not isinstance(found, list):
        message = decode_object(body)
        if "error_msg" in message:
            raise NotFound(str(message["error_msg"]))
        found = message.get("results")
    try:
        objects = msgspec.convert(found, list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise JsonDataException({"results": str(error)}) from None
    return [type_(**read_fields(each, type_)) for each in objects]


def parse_id(body: bytes) -> int:
    """The id of what was created: an endpoint's stands under ``result``, others' under ``id``. Raises as parse_list."""
    message = decode_object(body)
    found = message.get("result", message.get("id"))
    if type(found) is not int:
        raise JsonDataException({"id": "expected integer"})
    return found
