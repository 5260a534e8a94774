"""The engine's calls over HTTP: each parses, asks the pure parts, and answers."""

from __future__ import annotations

import base64
import logging
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from pyworker.engine.core.addresses import host_of
from pyworker.engine.core.keys import owner
from pyworker.engine.core.workers import Endpoint, Token, Worker
from pyworker.engine.engine import Engine, epoch_us, moment, utc_now
from pyworker.engine.http import answer, bearer, key_in, read_body
from pyworker.errors import BadRequest, NotFound, PyWorkerError, WrongToken
from pyworker.tickets import SCHEMES, Scheme, TicketKey
from pyworker.wire import (
    DeleteRequests,
    EndpointInfo,
    EndpointQuery,
    RouteRequest,
    TokenAnswer,
    TokenRequest,
    WaitingAnswer,
    WorkerStatus,
    parse,
)

__all__ = ["ENGINE", "ROUTES"]

log = logging.getLogger("pyworker.engine")

ENGINE: Final = web.AppKey("engine", Engine)

# --- clients --------------------------------------------------------------------------------------


async def route(request: web.Request) -> web.Response:
    """Which worker a request goes to; with ``wait`` (s) the call is held until there is one."""
    engine = request.app[ENGINE]
    query = parse(await read_body(request), RouteRequest)
    key = key_in(request, query.api_key)
    endpoint = engine.keys.endpoint_of(key, query.endpoint, engine.registry)
    routed = engine.dispatcher.route(owner(key), endpoint, query, moment())
    engine.probe_suspects()
    if isinstance(routed, WaitingAnswer) and query.wait and routed.request_idx:
        routed = await engine.waiting.hold(endpoint, routed.request_idx, query.wait) or routed
    return answer(routed)


async def list_endpoints(request: web.Request) -> web.Response:
    """All endpoints."""
    engine = request.app[ENGINE]
    engine.keys.require_account(key_in(request))
    return answer({"success": True, "results": [_info(engine, endpoint) for endpoint in engine.registry.endpoints]})


async def show_endpoint(request: web.Request) -> web.Response:
    """One endpoint."""
    engine = request.app[ENGINE]
    engine.keys.require_account(key_in(request))
    endpoint = engine.registry.endpoint_by_id(_int(request.match_info["id"]))
    return answer({"success": True, "result": _info(engine, endpoint)})


async def list_workers(request: web.Request) -> web.Response:
    """The workers of an endpoint. Clients expect an unknown one as ``error_msg`` with status 200."""
    engine = request.app[ENGINE]
    query = parse(await read_body(request), EndpointQuery)
    engine.keys.require_account(key_in(request, query.api_key))
    try:
        endpoint = engine.registry.endpoint_by_id(query.id)
    except NotFound as error:
        return answer({"error_msg": str(error)})
    return answer([worker.info(*moment()) for worker in engine.registry.workers(endpoint)])


async def issue_token(request: web.Request) -> web.Response:
    """A new worker's mtoken, and its ticket key unless it asks for RSA signatures."""
    engine = request.app[ENGINE]
    query = parse(await read_body(request), TokenRequest)
    engine.keys.require_account(key_in(request, query.api_key))
    endpoint = engine.registry.endpoint(query.endpoint)
    ticket_key = TicketKey(secrets.token_hex(4), secrets.token_bytes(32)) if query.signature_scheme is None else None
    mtoken = secrets.token_urlsafe(32)
    token = Token(endpoint, ticket_key, _scheme(query.signature_scheme), query.id, query.url)
    engine.registry.add_token(mtoken, token)
    log.info("worker token issued", extra={"endpoint": endpoint.name})
    return answer(_token_answer(endpoint, mtoken, ticket_key))


# --- workers --------------------------------------------------------------------------------------


async def worker_status(request: web.Request) -> web.Response:
    """A worker's report."""
    engine = request.app[ENGINE]
    status = parse(await read_body(request), WorkerStatus)
    now_s = time.monotonic()
    with _refusals_noted(request, status.id):
        worker = engine.registry.identify(status, now_s, epoch_us())
    _warn_of_namesake(engine, worker)
    before = worker.state
    engine.dispatcher.report(worker, status, now_s)
    if worker.state != before:
        told = {"worker_id": worker.id, "url": worker.url, "before": before, "after": worker.state}
        log.info("worker changed state", extra=told)
    engine.waiting.serve(worker.endpoint)
    return answer({"success": True})


async def delete_requests(request: web.Request) -> web.Response:
    """Requests that have ended at a worker."""
    engine = request.app[ENGINE]
    ended = parse(await read_body(request), DeleteRequests)
    with _refusals_noted(request, ended.worker_id):
        worker = engine.registry.worker(ended.mtoken, ended.worker_id)
    engine.dispatcher.finished(worker, ended.requests)
    engine.waiting.serve(worker.endpoint)
    return answer({"success": True})


async def sign_certificate(request: web.Request) -> web.Response:
    """A certificate for the address that is known for a worker."""
    engine = request.app[ENGINE]
    mtoken = bearer(request)
    if mtoken is None:
        raise WrongToken("send the worker's mtoken as Authorization: Bearer")
    token = engine.registry.token(mtoken, _int(request.query.get("instance_id", "")))
    if token.url is None:
        raise BadRequest("this worker's address is not known yet: let it report first, or issue its token with a url")
    certificate = engine.authority.sign(await read_body(request), host_of(token.url), utc_now())
    return web.Response(body=certificate, content_type="application/pem-certificate-chain")


@contextmanager
def _refusals_noted(request: web.Request, worker_id: int) -> Generator[None]:
    try:
        yield
    except PyWorkerError as error:
        refusals = request.app[ENGINE].refusals
        refusals.refused(request.remote or "", worker_id, str(error), time.monotonic())
        raise


def _warn_of_namesake(engine: Engine, worker: Worker) -> None:
    other = engine.registry.namesake(worker)
    if other is not None:
        told = {"worker_id": worker.id, "url": worker.url, "other_url": other.url, "endpoint": worker.endpoint.name}
        log.warning("two workers report with the same id: give each its own CONTAINER_ID", extra=told)


# --- anybody --------------------------------------------------------------------------------------


async def pubkey(request: web.Request) -> web.Response:
    """The RSA public key."""
    return web.Response(body=request.app[ENGINE].signer.public_key_pem, content_type="application/x-pem-file")


async def root_certificate(request: web.Request) -> web.Response:
    """The root of workers' certificates."""
    return web.Response(body=request.app[ENGINE].authority.root_pem, content_type="application/x-x509-ca-cert")


async def health(_: web.Request) -> web.Response:
    """Up."""
    return answer({"status": "ok"})


ROUTES: Final = (
    web.post("/route/", route),
    web.post("/worker_status/", worker_status),
    web.post("/delete_requests/", delete_requests),
    web.get("/pubkey/", pubkey),
    web.get("/health", health),
    web.get("/static/jvastai_root.cer", root_certificate),
    web.get("/api/v0/endptjobs/", list_endpoints),
    web.get("/api/v0/endptjobs/{id}/", show_endpoint),
    web.post("/get_endpoint_workers/", list_workers),
    web.post("/api/v0/worker_tokens/", issue_token),
    web.post("/api/v0/sign_cert/", sign_certificate),
)


def _info(engine: Engine, endpoint: Endpoint) -> EndpointInfo:
    return EndpointInfo(
        id=endpoint.id,
        endpoint_name=endpoint.name,
        api_key=engine.keys.endpoint_key(endpoint),
        created_at=engine.created_epoch_s,
        max_queue_time=endpoint.max_queue_time_s,
    )


def _token_answer(endpoint: Endpoint, mtoken: str, ticket_key: TicketKey | None) -> TokenAnswer:
    secret = ticket_key and base64.urlsafe_b64encode(ticket_key.secret).rstrip(b"=").decode()
    return TokenAnswer(
        endpoint=endpoint.name, mtoken=mtoken, ticket_key=secret, ticket_key_id=ticket_key and ticket_key.id
    )


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"an id is a whole number, not {text[:40]!r}") from None


def _scheme(number: int | None) -> Scheme:
    for scheme in SCHEMES:
        if scheme == (number or 4):
            return scheme
    raise BadRequest("signature_scheme is 1, 3 or 4; leave it out for tickets")
