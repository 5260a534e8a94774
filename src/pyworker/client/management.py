"""Management calls of an engine, one at a time and without an event loop: for commands and small scripts."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

from pyworker.client.failures import no_engine, not_an_engine, refused
from pyworker.errors import EngineRefused, InvalidJson, JsonDataException, NotFound, PyWorkerError
from pyworker.wire import (
    EndpointInfo,
    Query,
    TokenAnswer,
    TokenRequest,
    WorkerInfo,
    decode_object,
    dump,
    parse,
)
from pyworker.wire_management import (
    BackupRequest,
    EndpointKey,
    EndpointLogs,
    GroupInfo,
    KeyAnswer,
    KeyChange,
    KeyInfo,
    KeyRequest,
    RotateRequest,
    WorkerLogs,
    parse_id,
    parse_list,
)

__all__ = ["Management", "fetch", "issue_token", "list_endpoints"]

PATIENCE_S: Final = 15.0
BUSY: Final = {429, 503}
TRIES: Final = 6
ASK_AGAIN_S: Final = 1.0
NOT_THERE: Final = "404: Not Found"  # of a path that nobody serves, in aiohttp's words

_T = TypeVar("_T")


class Management:
    """One engine's management calls with an account's key.

    Each raises EngineUnreachable, or EngineRefused with what the engine says against it.
    """

    def __init__(self, engine_url: str, api_key: str) -> None:
        self.url = engine_url.rstrip("/")
        self._api_key = api_key

    # --- endpoints and workergroups ---

    def endpoints(self) -> list[EndpointInfo]:
        """All endpoints."""
        return self._read("/api/v0/endptjobs/", _list_of(EndpointInfo))

    def create_endpoint(self, parameters: Mapping[str, Any]) -> int:
        """``endpoint_name`` and parameters; its id."""
        return self._read("/api/v0/endptjobs/", parse_id, parameters)

    def change_endpoint(self, endpoint_id: int, changes: Mapping[str, Any]) -> None:
        """Other values for some parameters."""
        self._call(f"/api/v0/endptjobs/{endpoint_id}/", changes, method="PUT")

    def delete_endpoint(self, endpoint_id: int) -> None:
        """With its workergroups and their workers."""
        self._call(f"/api/v0/endptjobs/{endpoint_id}/", method="DELETE")

    def new_endpoint_key(self, endpoint_id: int) -> str:
        """Another key of the endpoint's own; the one before opens nothing any more."""
        return self._read(f"/api/v0/endptjobs/{endpoint_id}/key/", _a(EndpointKey), {}).api_key

    def groups(self) -> list[GroupInfo]:
        """The workergroups of all endpoints."""
        return self._read("/api/v0/workergroups/", _list_of(GroupInfo))

    def create_group(self, parameters: Mapping[str, Any]) -> int:
        """``endpoint_name``, ``template_hash``, parameters and ``launch``; its id."""
        return self._read("/api/v0/workergroups/", parse_id, parameters)

    def change_group(self, group_id: int, changes: Mapping[str, Any]) -> None:
        """Other values; with another launch they are a new version, which is rolled out."""
        self._call(f"/api/v0/workergroups/{group_id}/", changes, method="PUT")

    def delete_group(self, group_id: int) -> None:
        """With its workers."""
        self._call(f"/api/v0/workergroups/{group_id}/", method="DELETE")

    def update_workers(self, group_id: int, *, cancel: bool = False) -> dict[str, Any]:
        """Begin a rolling update, or call it off; what the engine says."""
        return self._read("/update_workers/", decode_object, Query(workergroup_id=group_id, cancel_update=cancel))

    def endpoint_logs(self, endpoint_id: int, tail: int) -> EndpointLogs:
        """The last lines of what was decided for an endpoint, and why."""
        return self._read("/get_endpoint_logs/", _a(EndpointLogs), Query(id=endpoint_id, tail=tail))

    def group_logs(self, group_id: int, tail: int) -> EndpointLogs:
        """The last lines that concern a workergroup."""
        return self._read("/get_workergroup_logs/", _a(EndpointLogs), Query(id=group_id, tail=tail))

    # --- workers ---

    def workers(self, endpoint_id: int) -> list[WorkerInfo]:
        """The workers of an endpoint."""
        return self._read("/get_endpoint_workers/", _list_of(WorkerInfo), Query(id=endpoint_id))

    def worker_logs(self, worker_id: int | str, tail: int) -> WorkerLogs:
        """The last lines of a worker's logs, its model server's among them. By its id, or ``n`` and its number."""
        return self._read(f"{_worker(worker_id)}logs/?tail={tail}", _a(WorkerLogs))

    def stop_worker(self, worker_id: int | str) -> None:
        """Let it finish what it has, and keep its folder."""
        self._call(f"{_worker(worker_id)}stop/", {})

    def start_worker(self, worker_id: int | str) -> None:
        """Start one that is stopped or failed."""
        self._call(f"{_worker(worker_id)}start/", {})

    def delete_worker(self, worker_id: int | str) -> None:
        """End it, and remove its folder."""
        self._call(f"{_worker(worker_id)}", method="DELETE")

    # --- keys and the store ---

    def keys(self) -> list[KeyInfo]:
        """The account's keys, without the keys themselves."""
        return self._read("/api/v0/keys/", _list_of(KeyInfo))

    def create_key(self, wanted: KeyRequest) -> KeyAnswer:
        """A new account key."""
        return self._read("/api/v0/keys/", _a(KeyAnswer), wanted)

    def limit_key(self, key_id: int, change: KeyChange) -> None:
        """Other limits for an account key."""
        self._call(f"/api/v0/keys/{key_id}/", change, method="PUT")

    def revoke_key(self, key_id: int) -> None:
        """Nobody gets in with this key any more."""
        self._call(f"/api/v0/keys/{key_id}/", method="DELETE")

    def rotate_key(self, kind: str) -> None:
        """Begin to sign with a new key, ``rsa`` or ``ticket``; what the old one signed stays good for a while."""
        self._call("/api/v0/keys/rotate/", RotateRequest(kind))

    def back_up(self, path: str) -> None:
        """Copy all that the engine keeps into a new folder on its machine."""
        self._call("/api/v0/backup/", BackupRequest(path))

    def _read(self, path: str, read: Callable[[bytes], _T], body: object = None) -> _T:
        answered = self._call(path, body)
        try:
            return read(answered)
        except (InvalidJson, JsonDataException) as error:
            raise not_an_engine(self.url, error) from None
        except NotFound as error:
            raise EngineRefused(str(error), status=NotFound.status) from None

    def _call(self, path: str, body: object = None, *, method: str | None = None) -> bytes:
        try:
            return fetch(self.url + path, self._api_key, None if body is None else dump(body), method=method)
        except EngineRefused as error:
            if error.answered_status == 405 or str(error) == NOT_THERE:
                raise _unknown_call(self.url, path) from None
            raise


def _a(type_: type[_T]) -> Callable[[bytes], _T]:
    return lambda body: parse(body, type_)


def _worker(worker_id: int | str) -> str:
    return f"/api/v0/workers/{quote(str(worker_id), safe='')}/"


def _list_of(type_: type[_T]) -> Callable[[bytes], list[_T]]:
    return lambda body: parse_list(body, type_)


def _unknown_call(url: str, path: str) -> EngineRefused:
    return EngineRefused(
        f"the engine at {url} has no call {path.partition('?')[0]}: is it older than this command? "
        "Compare `pyworker --version` on both machines",
        status=NotFound.status,
    )


def issue_token(engine_url: str, api_key: str, query: TokenRequest) -> TokenAnswer:
    """A new worker's secrets. Raises EngineUnreachable, EngineRefused."""
    answered = fetch(f"{engine_url.rstrip('/')}/api/v0/worker_tokens/", api_key, dump(query))
    try:
        return parse(answered, TokenAnswer)
    except PyWorkerError as error:
        raise not_an_engine(engine_url, error) from None


def list_endpoints(web_url: str, api_key: str) -> list[dict[str, Any]]:
    """The endpoints of an account. Raises EngineUnreachable, EngineRefused."""
    answered = fetch(f"{web_url.rstrip('/')}/api/v0/endptjobs/", api_key)
    try:
        return cast("list[dict[str, Any]]", json.loads(answered)["results"])
    except (ValueError, KeyError, TypeError):
        raise not_an_engine(web_url, "no list of endpoints") from None


def fetch(url: str, api_key: str | None = None, body: bytes | None = None, *, method: str | None = None) -> bytes:
    """GET, or POST when there is a body, or another method. Raises EngineUnreachable, EngineRefused.

    An engine that has too much to do, or was asked too often, refuses at once, before anything is done: it is asked
    again for a while.
    """
    for _ in range(TRIES - 1):
        try:
            return _fetch(url, api_key, body, method)
        except EngineRefused as error:
            if error.answered_status not in BUSY:
                raise
            time.sleep(ASK_AGAIN_S)
    return _fetch(url, api_key, body, method)


def _fetch(url: str, api_key: str | None, body: bytes | None, method: str | None) -> bytes:
    headers = {"Content-Type": "application/json"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    try:
        request = urllib.request.Request(  # noqa: S310 - the opener has no other schemes
            url, data=body, headers=headers, method=method
        )
        with _opener().open(request, timeout=PATIENCE_S) as response:
            return cast("bytes", response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise refused(error.code, error.read(), error.headers.get("Retry-After")) from None
    except (OSError, HTTPException, ValueError) as error:
        raise no_engine(url, error) from None


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS only, and no redirects: a key is sent nowhere else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
