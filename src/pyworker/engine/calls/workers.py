"""What workers tell: how they are, which requests have ended; and what they ask: the key, a certificate."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from aiohttp import web

from pyworker.engine.calls.http import ENGINE, answer, bearer, limit, read_body, whole_number
from pyworker.engine.core.addresses import host_of
from pyworker.engine.core.limits import source_of
from pyworker.engine.core.workers import Worker
from pyworker.engine.engine import Engine, utc_now
from pyworker.errors import BadRequest, PyWorkerError, WrongToken
from pyworker.wire import DeleteRequests, WorkerStatus, parse

__all__ = ["delete_requests", "pubkey", "root_certificate", "sign_certificate", "worker_status"]


async def worker_status(request: web.Request) -> web.Response:
    """A worker's report."""
    engine = request.app[ENGINE]
    status = parse(await read_body(request), WorkerStatus)
    now_s = time.monotonic()
    with _refusals_noted(request, status.id):
        worker = engine.registry.identify(status, now_s)
    limit(engine.limits.reports, worker.number)
    engine.heard(worker, status, now_s)
    return answer({"success": True})


async def delete_requests(request: web.Request) -> web.Response:
    """Requests that have ended at a worker."""
    engine = request.app[ENGINE]
    ended = parse(await read_body(request), DeleteRequests)
    with _refusals_noted(request, ended.worker_id):
        worker = engine.registry.worker_of(ended.mtoken, ended.worker_id, or_before=True)
        if worker.reported_id is None:
            raise WrongToken("no worker has reported with this mtoken yet")
    limit(engine.limits.reports, worker.number)
    engine.dispatcher.finished(worker, ended.requests, time.monotonic())
    engine.serve_line(worker.endpoint)
    return answer({"success": True})


async def sign_certificate(request: web.Request) -> web.Response:
    """A certificate for the address that is known for a worker."""
    engine = request.app[ENGINE]
    instance_id = whole_number(request.query.get("instance_id", ""), name="instance_id")
    worker = _who_asks(request, engine, instance_id)
    if not worker.url:
        raise BadRequest("this worker's address is not known yet: let it report first, or issue its token with a url")
    certificate = engine.authority.sign(await read_body(request), host_of(worker.url), utc_now())
    if bearer(request) is None and await engine.records.count_certificate(worker) > 1:
        raise WrongToken("this instance has its certificate already: another one takes its mtoken")
    return web.Response(body=certificate, content_type="application/pem-certificate-chain")


def _who_asks(request: web.Request, engine: Engine, instance_id: int) -> Worker:
    """By its mtoken; without one, where that is allowed, by its id and the address that it calls from."""
    mtoken = bearer(request)
    if mtoken is not None:
        return engine.registry.worker_of(mtoken, instance_id)
    if not engine.config.sign_without_token:
        raise WrongToken("send the worker's mtoken as Authorization: Bearer, or start the engine --sign-without-token")
    return engine.registry.worker_at(instance_id, request.remote or "")


async def pubkey(request: web.Request) -> web.Response:
    """The RSA public key."""
    return web.Response(body=request.app[ENGINE].signer.public_key_pem, content_type="application/x-pem-file")


async def root_certificate(request: web.Request) -> web.Response:
    """The root of workers' certificates."""
    return web.Response(body=request.app[ENGINE].authority.root_pem, content_type="application/x-x509-ca-cert")


@contextmanager
def _refusals_noted(request: web.Request, worker_id: int) -> Generator[None]:
    try:
        yield
    except PyWorkerError as error:
        engine = request.app[ENGINE]
        engine.meters.refused_reports += 1
        engine.refusals.refused(source_of(request.remote or ""), worker_id, str(error), time.monotonic())
        raise
