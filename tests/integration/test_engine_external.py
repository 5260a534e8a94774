"""An engine and workers on machines of one's own: told to drain, updated one by one, asked for logs, let go."""

# ruff: noqa: ASYNC110 - what is waited for is seen by asking
from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pyworker.engine.core.certificates import Authority
from pyworker.engine.worker_calls import WorkerCalls
from pyworker.errors import WorkerNotReached
from pyworker.testing import FakeServer, answer
from tests.support.engines import API_KEY, EngineUnderTest, Fleet, ReportingWorker, a_fleet, a_folder, an_engine

KEY = {"Authorization": f"Bearer {API_KEY}"}


async def _a_worker(fleet: Fleet, **token: Any) -> ReportingWorker:
    """One that drains when it is told to."""
    worker = await fleet.join(**token)
    worker.on("/pyworker/update", answer({"success": True}, status=202))
    return worker


async def _come_back(worker: ReportingWorker) -> None:
    """What it reports when it was told to drain and its machine starts it anew."""
    for state in ("draining", "starting", "ready"):
        await worker.report(state=state)


def _told(worker: ReportingWorker) -> list[str | None]:
    """The proofs with which it was told to drain."""
    asked = [request for request in worker.requests if request.path == "/pyworker/update"]
    return [request.headers.get("Authorization") for request in asked]


async def _group(engine: EngineUnderTest) -> dict[str, Any]:
    _, listed = await engine.get("/api/v0/workergroups/", headers=KEY)
    return listed["results"][0]


async def _until_told(*workers: ReportingWorker) -> list[ReportingWorker]:
    while not any(_told(worker) for worker in workers):
        await asyncio.sleep(0.05)
    return [worker for worker in workers if _told(worker)]


# --- one is stopped -------------------------------------------------------------------------------


async def test_a_worker_that_is_stopped_is_told_to_drain_with_its_mtoken_and_gets_nothing_more() -> None:
    async with a_fleet() as (engine, fleet):
        worker, other = await _a_worker(fleet), await _a_worker(fleet)
        assert (await engine.post(f"/api/v0/workers/{worker.id}/stop/", {}, headers=KEY))[0] == 200
        assert _told(worker) == [f"Bearer {worker.mtoken}"]
        assert {(await engine.route())["url"] for _ in range(5)} == {other.url}
        await _come_back(worker)
        assert worker.url in {(await engine.route())["url"] for _ in range(9)}
        assert not _told(other)


async def test_one_that_cannot_be_told_is_named_with_what_to_do() -> None:
    async with a_fleet() as (engine, fleet):
        others = await fleet.join(report={"state": None})
        stops = f"/api/v0/workers/{others.id}/stop/"
        status, told = await engine.post(stops, {}, headers=KEY)
        assert (status, "not of ours" in told["msg"], "own machine" in told["msg"]) == (400, True, True)
        deaf = await fleet.join()
        status, told = await engine.post(f"/api/v0/workers/{deaf.id}/stop/", {}, headers=KEY)
        assert (status, "answered /pyworker/update with 404" in told["msg"]) == (502, True)
        await deaf.stop_listening()
        status, told = await engine.post(f"/api/v0/workers/{deaf.id}/stop/", {}, headers=KEY)
        assert (status, "cannot be reached" in told["msg"]) == (502, True)
        assert (await engine.post(f"/api/v0/workers/{deaf.id}/start/", {}, headers=KEY))[0] == 400


# --- a group is updated ---------------------------------------------------------------------------


async def test_an_update_goes_from_worker_to_worker_and_is_then_complete() -> None:
    async with a_fleet() as (engine, fleet):
        workers = [await _a_worker(fleet) for _ in range(3)]
        group = await _group(engine)
        status, _ = await engine.post("/update_workers/", {"workergroup_id": group["id"]}, headers=KEY)
        assert status == 200
        for _ in range(3):
            (told,) = await _until_told(*workers)
            workers.remove(told)
            for state in ("draining", "starting"):
                await told.report(state=state)
                assert not any(_told(worker) for worker in workers)
            await told.report()
        while (group := await _group(engine))["updating_from"] is not None:
            await asyncio.sleep(0.05)
        assert group["version"] == 2


async def test_no_worker_is_told_while_the_load_needs_it() -> None:
    async with a_fleet() as (engine, fleet):
        workers = [await _a_worker(fleet) for _ in range(2)]
        await engine.route(cost=2_000)  # in a window of at most 6 s: more than one of them can do
        group = await _group(engine)
        await engine.post("/update_workers/", {"workergroup_id": group["id"]}, headers=KEY)
        while "is not told to drain yet: 100/s stay" not in (group := await _group(engine))["condition"]:
            await asyncio.sleep(0.05)
        assert not any(_told(worker) for worker in workers)
        third = await _a_worker(fleet, workergroup=group["name"])
        await third.report(max_perf=10_000.0)
        assert await _until_told(*workers)


# --- logs -----------------------------------------------------------------------------------------


async def test_its_logs_are_its_models_last_lines() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/pyworker/logs", answer("one\ntwo\nthree\n"))
        status, told = await engine.get(f"/api/v0/workers/{worker.id}/logs/?tail=2", headers=KEY)
        assert (status, told["logs"]) == (200, {"model.log": ["two", "three"]})


# --- let go ---------------------------------------------------------------------------------------


async def test_one_that_is_deleted_drains_first_and_is_then_forgotten() -> None:
    async with a_fleet() as (engine, fleet):
        worker, silent = await _a_worker(fleet), await fleet.join()
        await silent.stop_listening()
        for each in (worker, silent):
            async with engine.http.delete(f"{engine.url}/api/v0/workers/{each.id}/", headers=KEY) as response:
                assert response.status == 200
        assert (await silent.report())[0] == 401
        assert len(_told(worker)) == 1
        assert (await worker.report(state="draining"))[0] == 200  # it may still say what became of its requests
        assert "url" not in await engine.route()
        while (await worker.report(state="starting"))[0] == 200:
            await asyncio.sleep(0.2)
        assert (await worker.report())[0] == 401


async def test_one_that_was_let_go_is_forgotten_by_the_next_engine(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine(folder) as engine, Fleet(engine) as fleet:
        worker = await _a_worker(fleet)
        async with engine.http.delete(f"{engine.url}/api/v0/workers/{worker.id}/", headers=KEY) as response:
            assert response.status == 200
    async with an_engine(folder) as engine:
        worker.engine = engine
        while (await worker.report())[0] == 200:
            await asyncio.sleep(0.2)


async def test_with_an_endpoint_its_workers_go() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await _a_worker(fleet)
        _, listed = await engine.get("/api/v0/endptjobs/", headers=KEY)
        url = f"{engine.url}/api/v0/endptjobs/{listed['results'][0]['id']}/"
        async with engine.http.delete(url, headers=KEY) as response:
            assert response.status == 200
        assert len(_told(worker)) == 1


# --- what carries the mtoken ----------------------------------------------------------------------


def _certificate(authority: Authority, folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = authority.sign(csr.public_bytes(serialization.Encoding.PEM), "127.0.0.1", _now())
    chain = folder / "chain.pem"
    chain.write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@asynccontextmanager
async def _a_tls_worker(context: ssl.SSLContext) -> AsyncGenerator[tuple[str, list[str]]]:
    """Its url, and the proofs that it has seen."""
    seen: list[str] = []

    async def update(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.json_response({"success": True}, status=202)

    app = web.Application()
    app.router.add_post("/pyworker/update", update)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


async def test_the_mtoken_goes_only_to_a_worker_whose_certificate_is_of_the_engines_root(tmp_path: Path) -> None:
    own, stranger = (Authority(ec.generate_private_key(ec.SECP256R1()), _now()) for _ in range(2))
    calls = WorkerCalls(own.root_pem, ())
    async with _a_tls_worker(_certificate(own, tmp_path)) as (url, seen):
        await calls.drain(url, "its-mtoken")
        assert seen == ["Bearer its-mtoken"]
    async with _a_tls_worker(_certificate(stranger, tmp_path)) as (url, seen):
        with pytest.raises(WorkerNotReached, match="no certificate of this engine"):
            await calls.drain(url, "its-mtoken")
        assert not seen


async def test_the_mtoken_follows_no_redirect() -> None:
    root = Authority(ec.generate_private_key(ec.SECP256R1()), _now()).root_pem
    async with FakeServer() as elsewhere, FakeServer() as worker:
        worker.on("/pyworker/update", answer({}, status=307, headers={"Location": f"{elsewhere.url}/pyworker/update"}))
        with pytest.raises(WorkerNotReached, match="307"):
            await WorkerCalls(root, ()).drain(worker.url, "its-mtoken")
        assert not elsewhere.requests
