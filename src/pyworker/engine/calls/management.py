"""Management over HTTP: endpoints, workergroups, workers and keys (the wire, section 6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from pyworker.engine.calls.http import ENGINE, MANAGEMENT, account_only, answer, body_of, whole_number
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.key_limits import NO_LIMITS
from pyworker.engine.core.parameters import checked, checked_name
from pyworker.engine.core.workers import Worker
from pyworker.engine.engine import Engine, moment
from pyworker.errors import BadRequest, JsonDataException, NotFound
from pyworker.wire import EndpointInfo, Query, TokenRequest, convert
from pyworker.wire_management import BackupRequest, KeyInfo, KeyRequest, RotateRequest

__all__ = ["ROUTES"]

DEFAULT_TAIL: Final = 200


# --- endpoints ------------------------------------------------------------------------------------


@account_only
async def list_endpoints(request: web.Request) -> web.Response:
    """All endpoints."""
    engine = request.app[ENGINE]
    return answer({"success": True, "results": [endpoint_info(engine, one) for one in engine.registry.endpoints]})


@account_only
async def show_endpoint(request: web.Request) -> web.Response:
    """One endpoint."""
    engine = request.app[ENGINE]
    return answer({"success": True, "result": endpoint_info(engine, _endpoint(request))})


@account_only
async def create_endpoint(request: web.Request) -> web.Response:
    """A new endpoint from its parameters."""
    endpoint = await request.app[MANAGEMENT].create_endpoint(await body_of(request))
    return answer({"success": True, "result": endpoint.id})


@account_only
async def change_endpoint(request: web.Request) -> web.Response:
    """Change an endpoint's parameters; null leaves one as it is."""
    await request.app[MANAGEMENT].change_endpoint(_endpoint(request), await body_of(request))
    return answer({"success": True})


@account_only
async def delete_endpoint(request: web.Request) -> web.Response:
    """Delete an endpoint, with its groups and workers."""
    await request.app[MANAGEMENT].delete_endpoint(_endpoint(request))
    return answer({"success": True})


@account_only
async def revoke_endpoint_key(request: web.Request) -> web.Response:
    """Give an endpoint another key of its own; the one before opens nothing any more."""
    key = await request.app[MANAGEMENT].revoke_endpoint_key(_endpoint(request))
    return answer({"success": True, "api_key": key})


# --- workergroups ---------------------------------------------------------------------------------


@account_only
async def list_groups(request: web.Request) -> web.Response:
    """All workergroups."""
    groups = request.app[ENGINE].registry.groups()
    return answer({"success": True, "results": [group_info(group) for group in groups]})


@account_only
async def show_group(request: web.Request) -> web.Response:
    """One workergroup."""
    return answer({"success": True, "result": group_info(_group(request))})


@account_only
async def create_group(request: web.Request) -> web.Response:
    """A new workergroup."""
    group = await request.app[MANAGEMENT].create_group(await body_of(request))
    return answer({"success": True, "id": group.id})


@account_only
async def change_group(request: web.Request) -> web.Response:
    """Change a workergroup; another launch is rolled out."""
    await request.app[MANAGEMENT].change_group(_group(request), await body_of(request))
    return answer({"success": True})


@account_only
async def delete_group(request: web.Request) -> web.Response:
    """Delete a workergroup with its workers."""
    await request.app[MANAGEMENT].delete_group(_group(request))
    return answer({"success": True})


@account_only
async def update_workers(request: web.Request) -> web.Response:
    """Begin a rolling update, or call it off."""
    query = convert(await body_of(request), Query)
    engine, management = request.app[ENGINE], request.app[MANAGEMENT]
    group = engine.registry.group(_required(query.workergroup_id, query.id, name="workergroup_id"))
    change = management.cancel_update if query.cancel_update else management.update_group
    return answer({"success": True, "version": await change(group)})


# --- workers --------------------------------------------------------------------------------------


@account_only
async def endpoint_workers(request: web.Request) -> web.Response:
    """The workers of an endpoint. Clients expect an unknown one as ``error_msg`` with status 200."""
    query = convert(await body_of(request), Query)
    return _workers(request.app[ENGINE], query, _endpoint_asked)


@account_only
async def group_workers(request: web.Request) -> web.Response:
    """The workers of a workergroup; likewise."""
    query = convert(await body_of(request), Query)
    return _workers(request.app[ENGINE], query, _group_asked)


def _workers(
    engine: Engine, query: Query, asked: Callable[[Engine, Query], Endpoint] | Callable[[Engine, Query], Group]
) -> web.Response:
    try:
        where = asked(engine, query)
    except (NotFound, BadRequest, JsonDataException) as error:
        return answer({"error_msg": str(error)})
    return answer([worker.info(*moment()) for worker in engine.registry.workers(where)])


@account_only
async def endpoint_logs(request: web.Request) -> web.Response:
    """What happened at an endpoint, by level."""
    query = convert(await body_of(request), Query)
    engine = request.app[ENGINE]
    return answer(await engine.journal.tail(_endpoint_asked(engine, query), _tail(query)))


@account_only
async def group_logs(request: web.Request) -> web.Response:
    """What happened at a workergroup, by level."""
    query = convert(await body_of(request), Query)
    engine = request.app[ENGINE]
    group = _group_asked(engine, query)
    return answer(await engine.journal.tail(group.endpoint, _tail(query), group))


@account_only
async def issue_token(request: web.Request) -> web.Response:
    """A new worker's mtoken, and its ticket key unless it asks for RSA signatures."""
    query = convert(await body_of(request), TokenRequest)
    return answer(await request.app[MANAGEMENT].issue_token(query))


@account_only
async def delete_worker(request: web.Request) -> web.Response:
    """Destroy a worker."""
    await request.app[MANAGEMENT].remove_worker(_worker(request))
    return answer({"success": True})


@account_only
async def stop_worker(request: web.Request) -> web.Response:
    """Let a worker drain and be cold; an external one is started anew by its machine."""
    await request.app[MANAGEMENT].stop_worker(_worker(request))
    return answer({"success": True})


@account_only
async def start_worker(request: web.Request) -> web.Response:
    """Start a cold worker."""
    request.app[MANAGEMENT].start_worker(_worker(request))
    return answer({"success": True})


@account_only
async def worker_logs(request: web.Request) -> web.Response:
    """The last lines of a worker's logs."""
    tail = whole_number(request.query.get("tail", str(DEFAULT_TAIL)), name="tail")
    return answer({"success": True, "logs": await request.app[MANAGEMENT].worker_logs(_worker(request), tail)})


# --- keys and all of it ---------------------------------------------------------------------------


@account_only
async def list_keys(request: web.Request) -> web.Response:
    """The account keys; never the keys themselves."""
    rows = await request.app[MANAGEMENT].list_keys()
    shown = KeyInfo.__struct_fields__
    return answer({"success": True, "results": [{name: getattr(row, name) for name in shown} for row in rows]})


@account_only
async def create_key(request: web.Request) -> web.Response:
    """A new account key, which is shown this once."""
    fields = await body_of(request)
    name = checked_name(convert(fields, KeyRequest).name, "name")
    row, key = await request.app[MANAGEMENT].create_key(name, checked(NO_LIMITS, fields))
    return answer({"success": True, "id": row.id, "name": row.name, "api_key": key})


@account_only
async def limit_key(request: web.Request) -> web.Response:
    """Other limits for an account key; null leaves one as it is, 0 takes it away."""
    await request.app[MANAGEMENT].limit_key(whole_number(request.match_info["id"]), await body_of(request))
    return answer({"success": True})


@account_only
async def revoke_key(request: web.Request) -> web.Response:
    """An account key opens nothing any more."""
    await request.app[MANAGEMENT].revoke_key(whole_number(request.match_info["id"]))
    return answer({"success": True})


@account_only
async def rotate(request: web.Request) -> web.Response:
    """A new generation of the RSA key or the ticket secret."""
    kind = convert(await body_of(request), RotateRequest).kind
    if kind not in ("rsa", "ticket"):
        raise JsonDataException({"kind": "is rsa or ticket"})
    return answer({"success": True, "generation": await request.app[MANAGEMENT].rotate(kind)})


@account_only
async def backup(request: web.Request) -> web.Response:
    """Copy all that the engine keeps into a new folder on its machine."""
    path = convert(await body_of(request), BackupRequest).path
    if not Path(path).is_absolute():
        raise JsonDataException({"path": "a path on the engine's machine, from its root"})
    await request.app[MANAGEMENT].back_up(Path(path))
    return answer({"success": True, "path": path})


ROUTES: Final = (
    web.get("/api/v0/endptjobs/", list_endpoints),
    web.post("/api/v0/endptjobs/", create_endpoint),
    web.get("/api/v0/endptjobs/{id}/", show_endpoint),
    web.put("/api/v0/endptjobs/{id}/", change_endpoint),
    web.delete("/api/v0/endptjobs/{id}/", delete_endpoint),
    web.post("/api/v0/endptjobs/{id}/key/", revoke_endpoint_key),
    *(
        route
        for groups in ("workergroups", "autojobs")
        for route in (
            web.get(f"/api/v0/{groups}/", list_groups),
            web.post(f"/api/v0/{groups}/", create_group),
            web.get(f"/api/v0/{groups}/{{id}}/", show_group),
            web.put(f"/api/v0/{groups}/{{id}}/", change_group),
            web.delete(f"/api/v0/{groups}/{{id}}/", delete_group),
        )
    ),
    web.post("/update_workers/", update_workers),
    web.post("/get_endpoint_workers/", endpoint_workers),
    web.post("/get_workergroup_workers/", group_workers),
    web.post("/get_autogroup_workers/", group_workers),
    web.post("/get_endpoint_logs/", endpoint_logs),
    web.post("/get_workergroup_logs/", group_logs),
    web.post("/get_autogroup_logs/", group_logs),
    web.post("/api/v0/worker_tokens/", issue_token),
    web.delete("/api/v0/workers/{id}/", delete_worker),
    web.post("/api/v0/workers/{id}/stop/", stop_worker),
    web.post("/api/v0/workers/{id}/start/", start_worker),
    web.get("/api/v0/workers/{id}/logs/", worker_logs),
    web.get("/api/v0/keys/", list_keys),
    web.post("/api/v0/keys/", create_key),
    web.put("/api/v0/keys/{id}/", limit_key),
    web.delete("/api/v0/keys/{id}/", revoke_key),
    web.post("/api/v0/keys/rotate/", rotate),
    web.post("/api/v0/backup/", backup),
)


# --- who is meant, and how it is shown --------------------------------------------------------------


def endpoint_info(engine: Engine, endpoint: Endpoint) -> EndpointInfo:
    """An endpoint as it is listed."""
    left_s = endpoint.left_s(time.time())
    return EndpointInfo(
        id=endpoint.id,
        endpoint_name=endpoint.name,
        api_key=engine.keys.endpoint_key(endpoint),
        created_at=endpoint.created_epoch_s,
        endpoint_state="stopped" if endpoint.stopped else "active",
        auto_delete_in_seconds=left_s,
        auto_delete_due_24h=left_s is not None and left_s < 86_400,
        **msgspec.structs.asdict(endpoint.parameters),
    )


def group_info(group: Group) -> dict[str, Any]:
    """A workergroup as it is listed. What its workers' environment holds is not shown: there may be secrets."""
    parameters = group.parameters
    launch = parameters.launch
    shown: Mapping[str, Any] = {
        "id": group.id,
        "endpoint_id": group.endpoint.id,
        "endpoint_name": group.endpoint.name,
        "name": parameters.name,
        "template_hash": parameters.name,
        "provider": parameters.provider,
        "max_workers": parameters.max_workers,
        "test_workers": parameters.test_workers,
        "signature_scheme": parameters.signature_scheme,
        "drain_s": parameters.drain_s,
        "command": list(launch.worker) if launch else None,
        "model_command": list(launch.model) if launch and launch.model else None,
        "version": group.version,
        "updating_from": group.before.version if group.before else None,
        "created_at": group.created_epoch_s,
        "condition": group.condition,
    }
    return {**group.extra, **shown}


def _endpoint(request: web.Request) -> Endpoint:
    return request.app[ENGINE].registry.endpoint_by_id(whole_number(request.match_info["id"]))


def _group(request: web.Request) -> Group:
    return request.app[ENGINE].registry.group(whole_number(request.match_info["id"]))


def _worker(request: web.Request) -> Worker:
    """By its id; by its number in ``n17``."""
    registry, text = request.app[ENGINE].registry, request.match_info["id"]
    if text.startswith("n"):
        return registry.worker_numbered(whole_number(text[1:]))
    return registry.worker_by_id(whole_number(text))


def _endpoint_asked(engine: Engine, query: Query) -> Endpoint:
    if query.id is None and query.endpoint is not None:
        return engine.registry.endpoint(query.endpoint)
    return engine.registry.endpoint_by_id(_required(query.id, None, name="id"))


def _group_asked(engine: Engine, query: Query) -> Group:
    return engine.registry.group(_required(query.id, query.workergroup_id, name="id"))


def _required(first: int | None, second: int | None, *, name: str) -> int:
    number = second if first is None else first
    if number is None:
        raise JsonDataException({name: "missing parameter"})
    return number


def _tail(query: Query) -> int:
    return DEFAULT_TAIL if query.tail is None else query.tail
