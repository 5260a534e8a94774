"""Seeing inside a worker: who may see what, and whether it is right."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from pyworker import Backend, LogAction
from pyworker.testing import FakeModel, answer, by_hand
from pyworker.worker.core.gate import Mode
from pyworker.worker.core.readiness import State
from tests.support.workers.handlers import Generate, pass_generate, payload
from tests.support.workers.rig import MTOKEN, Rig, a_worker, until

DETAILS = ("/pyworker/ready", "/pyworker/metrics", "/pyworker/logs")
FROM_OUTSIDE = {"X-Forwarded-For": "203.0.113.7"}


async def metrics(rig: Rig) -> dict[str, float]:
    """Every sample by its name, with its outcome if it has one."""
    page = (await rig.send("GET", "/pyworker/metrics")).body.decode()
    samples: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            samples[f"{sample.name}[{labels}]" if labels else sample.name] = sample.value
    return samples


# --- who may see what -----------------------------------------------------------------------------


async def test_everybody_may_know_whether_a_worker_is_well_and_no_more(tmp_path: Path) -> None:
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        well = await rig.send("GET", "/pyworker/health", headers=FROM_OUTSIDE)
        assert (well.status, well.json()) == (200, {"status": "ready"})
        rig.runtime.backend_errored("CUDA error at /root/secret/place")
        ill = await rig.send("GET", "/pyworker/health", headers=FROM_OUTSIDE)
        assert (ill.status, ill.json()) == (503, {"status": "error"})


@pytest.mark.parametrize("path", DETAILS)
async def test_details_are_for_its_own_machine_and_for_the_bearer_of_its_mtoken(tmp_path: Path, path: str) -> None:
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        assert (await rig.send("GET", path)).status == 200
        for proof in ("", "Bearer ", "Bearer wrong", f"Basic {MTOKEN}", MTOKEN, f"Bearer {MTOKEN}x", "Bearer ü"):
            refused = await rig.send("GET", path, headers={**FROM_OUTSIDE, "Authorization": proof})
            assert (refused.status, "Authorization: Bearer <mtoken>" in refused.json()["error"]) == (401, True)
        shown = await rig.send("GET", path, headers={**FROM_OUTSIDE, "Authorization": f"Bearer {MTOKEN}"})
        assert shown.status == 200


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
async def test_a_request_that_a_proxy_on_this_machine_handed_on_is_from_outside(tmp_path: Path, header: str) -> None:
    async with a_worker(tmp_path) as rig:
        assert (await rig.send("GET", "/pyworker/logs", headers={header: "127.0.0.1"})).status == 401


@pytest.mark.parametrize("path", DETAILS)
async def test_without_an_mtoken_nobody_from_outside_sees_details(tmp_path: Path, path: str) -> None:
    async with a_worker(tmp_path, settings={"mtoken": ""}) as rig:
        for proof in ("Bearer ", "Bearer", ""):
            assert (await rig.send("GET", path, headers={**FROM_OUTSIDE, "Authorization": proof})).status == 401


async def test_a_worker_that_drains_says_what_is_left_and_so_do_answers_that_are_cut_off(tmp_path: Path) -> None:
    async with a_worker(tmp_path, Generate(), mode=Mode.TICKET) as rig:
        rig.model.on("/generate", by_hand)
        cut_off = [rig.begin("/generate", payload()) for _ in range(2)]
        await rig.model.requests.at_least(2)
        spec = {"auth_data": rig.auth(), "payload": {"lifetime": 60}}
        assert (await rig.send("POST", "/session/create", json=spec)).status == 201
        draining = asyncio.create_task(rig.runtime.drain(3600.0))
        await rig.state(State.DRAINING)
        page = (await rig.send("GET", "/pyworker/ready")).json()
        assert (page["state"], page["waiting_for"]) == ("draining", "2 requests and 1 session to finish")
        draining.cancel()
        await rig.runtime.drain(0.0)  # the limit
        for answered in await asyncio.gather(*cut_off):
            assert (answered.status, answered.json()) == (503, {"error": "the worker is stopping"})
        assert (await rig.send("GET", "/pyworker/ready")).json()["waiting_for"] == ""


async def test_an_update_is_for_the_same_people(tmp_path: Path) -> None:
    async with a_worker(tmp_path) as rig:
        assert (await rig.send("POST", "/pyworker/update", headers=FROM_OUTSIDE)).status == 401
        assert not rig.worker.stop.is_set()
        assert (await rig.send("GET", "/pyworker/update")).status == 405
        assert (await rig.send("POST", "/pyworker/update")).status == 202
        assert rig.worker.stop.is_set()
        assert rig.worker.exit_status == 75


# --- what the pages say ---------------------------------------------------------------------------


async def test_the_ready_page_says_what_went_wrong(tmp_path: Path) -> None:
    actions = [(LogAction.ModelLoaded, "started"), (LogAction.ModelError, "Exception")]
    async with (
        FakeModel(log_path=tmp_path / "model.log") as model,
        a_worker(tmp_path, model=model, log_actions=actions, wait=False) as rig,
    ):
        model.log("loading\nException: no memory")
        await rig.state(State.ERRORED)
        page = await rig.send("GET", "/pyworker/ready")
        assert page.status == 503
        shown = page.json()
        assert (shown["ready"], shown["state"], shown["error"]) == (False, "error", "Exception: no memory")
        assert shown["model_log_last_lines"] == ["loading", "Exception: no memory"]
        assert shown["waiting_for"]
        assert (await rig.send("GET", "/pyworker/logs")).body.decode() == "loading\nException: no memory\n"


async def test_the_ready_page_says_that_a_log_does_not_exist(tmp_path: Path) -> None:
    async with (
        FakeModel(log_path=tmp_path / "model.log") as model,
        a_worker(tmp_path, model=model, log_actions=[(LogAction.ModelLoaded, "x")], wait=False) as rig,
    ):
        page: dict[str, Any] = {}
        while not page.get("model_log_problem"):
            page = (await rig.send("GET", "/pyworker/ready")).json()
        assert str(tmp_path / "model.log") in page["model_log_problem"]


async def test_the_ready_page_says_how_far_the_benchmark_is(tmp_path: Path) -> None:
    async with a_worker(tmp_path, benchmark_handler=Generate(benchmark_runs=3, concurrency=2), wait=False) as rig:
        rig.model.on("/generate", by_hand)
        held = await rig.model.requests.next()
        assert (await rig.send("GET", "/pyworker/ready")).json()["benchmark"] == "warming up"
        await held.answer({})
        second, third = (await rig.model.requests.at_least(3))[1:]
        page = (await rig.send("GET", "/pyworker/ready")).json()
        assert page["benchmark"] == "round 1 of 3, 2 requests at once"
        rig.model.on("/generate")
        await second.answer({})
        await third.answer({})
        await rig.ready()
        assert (await rig.send("GET", "/pyworker/ready")).json()["benchmark"] == ""


async def test_metrics_count_requests_and_workload_by_how_they_ended(tmp_path: Path) -> None:
    handler = Generate(max_queue_time=5.0)
    async with a_worker(tmp_path, handler, fixed_throughput=1.0) as rig:
        rig.model.on("/generate", by_hand, answer(status=500), answer({}), answer({}))
        cancelled = rig.begin("/generate", payload(tokens=7))
        held = await rig.model.requests.next()
        assert (await rig.post("/generate", payload())).status == 429
        working = await metrics(rig)
        assert (working["pyworker_requests_working"], working["pyworker_workload_in_flight"]) == (1.0, 7.0)
        cancelled.cancel()
        await held.gone.wait()
        await until(lambda: not rig.runtime.books.ledger.in_flight_count)
        assert [(await rig.post("/generate", payload())).status for _ in range(3)] == [500, 200, 200]
        await rig.settled(served=2, errored=1, cancelled=1, rejected=1)
        shown = await metrics(rig)
        for outcome, requests, workload in (
            ("served", 2, 20),
            ("errored", 1, 10),
            ("cancelled", 1, 7),
            ("rejected", 1, 10),
        ):
            assert shown[f"pyworker_requests_total[{outcome}]"] == requests
            assert shown[f"pyworker_workload_total[{outcome}]"] == workload
        assert shown["pyworker_requests_received_total"] == 5
        assert shown["pyworker_workload_received_total"] == 47
        assert shown["pyworker_requests_working"] == shown["pyworker_requests_waiting"] == 0
        assert shown["pyworker_workload_in_flight"] == 0
        assert shown["pyworker_capacity_per_second"] == 1
        assert shown["pyworker_books_imbalance"] == 0
        assert shown["pyworker_ready"] == 1
        assert shown["pyworker_work_seconds_count"] == 4
        assert shown["pyworker_queue_seconds_count"] == 4
        assert shown["pyworker_first_byte_seconds_count"] == 3


async def test_metrics_count_errors_of_model_and_engine(tmp_path: Path) -> None:
    async with a_worker(tmp_path) as rig:
        rig.engine.on("/worker_status/", answer(status=500))
        rig.runtime.backend_errored("the GPU fell off the bus")
        await until(lambda: rig.runtime.engine.errors)
        shown = await metrics(rig)
        assert shown["pyworker_model_errors_total"] == 1
        assert shown["pyworker_model_errored"] == 1
        assert shown["pyworker_ready"] == 0
        assert shown["pyworker_engine_errors_total"] >= 1


async def test_the_books_balance_at_every_moment_of_a_busy_run(tmp_path: Path) -> None:
    async with a_worker(tmp_path, pass_generate(), Generate(route="/authored")) as rig:

        async def ask(number: int) -> None:
            path = "/authored" if number % 2 else "/generate"
            call = rig.begin(path, payload(tokens=number))
            if number % 5 == 0:
                await asyncio.sleep(0)
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        async with asyncio.TaskGroup() as tasks:
            for number in range(60):
                tasks.create_task(ask(number))
            for _ in range(10):
                assert (await metrics(rig))["pyworker_books_imbalance"] == 0
        await until(lambda: not rig.runtime.books.ledger.in_flight_count)
        assert (await metrics(rig))["pyworker_books_imbalance"] == 0


# --- what authors show on their own routes --------------------------------------------------------


def authors_routes(backend: Backend) -> list[web.RouteDef]:
    """A ping, a metrics page and a health check of the author's own."""

    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="pong")

    async def numbers(_: web.Request) -> web.Response:
        system, model = backend.metrics.system_metrics, backend.metrics.model_metrics
        return web.json_response(
            {
                "id": backend.metrics.id,
                "url": backend.metrics.url,
                "loading_start": system.model_loading_start,
                "loading_time": system.model_loading_time,
                "loaded": system.model_is_loaded,
                "disk": system.last_disk_usage,
                "more_disk": system.additional_disk_usage,
                "served": model.workload_served,
                "received": model.workload_received,
                "cancelled": model.workload_cancelled,
                "errored": model.workload_errored,
                "rejected": model.workload_rejected,
                "pending": model.workload_pending,
                "cur_perf": model.cur_perf,
                "error": model.error_msg,
                "throughput": model.max_throughput,
                "requests": len(model.requests_recieved),
                "working": len(model.requests_working),
            }
        )

    async def health(_: web.Request) -> web.Response:
        async with backend.session.get("/health") as response:
            return web.Response(status=response.status, body=await response.read())

    async def fail(_: web.Request) -> web.Response:
        backend.backend_errored("the author says so")
        return web.Response()

    return [web.get("/ping", ping), web.get("/numbers", numbers), web.get("/health", health), web.get("/fail", fail)]


async def test_authors_own_routes_answer_before_the_worker_is_ready(tmp_path: Path) -> None:
    async with (
        FakeModel(listening=False) as model,
        a_worker(tmp_path, model=model, routes=authors_routes, wait=False) as rig,
    ):
        assert (await rig.send("GET", "/ping")).body == b"pong"
        numbers = (await rig.send("GET", "/numbers")).json()
        assert (numbers["loaded"], numbers["loading_time"], numbers["requests"]) == (False, None, 0)


async def test_authors_see_the_workers_numbers_and_call_the_model(tmp_path: Path) -> None:
    async with a_worker(tmp_path, routes=authors_routes, fixed_throughput=100.0) as rig:
        await rig.post("/generate", payload())
        rig.model.on("/generate", by_hand)
        call = rig.begin("/generate", payload(tokens=30))
        held = await rig.model.requests.at_least(2)
        await until(lambda: rig.runtime.metrics.system_metrics.last_disk_usage)
        numbers = (await rig.send("GET", "/numbers")).json()
        assert (numbers["id"], numbers["url"]) == (4711, rig.url)
        assert 0 <= time.time() - numbers["loading_start"] < 60
        assert (numbers["loaded"], numbers["loading_time"] is not None) == (True, True)
        assert (numbers["served"], numbers["received"], numbers["pending"]) == (10, 40, 30)
        assert (numbers["requests"], numbers["working"], numbers["throughput"]) == (2, 1, 100)
        await held[1].answer({})
        await call
        assert (await rig.send("GET", "/health")).json() == {"ok": True}
        assert rig.model.health_checks


async def test_an_author_may_say_that_the_model_has_failed(tmp_path: Path) -> None:
    async with a_worker(tmp_path, routes=authors_routes) as rig:
        await rig.send("GET", "/fail")
        report = await rig.engine.reports.where(lambda report: report.error_msg)
        assert report.error_msg == "the author says so"
        assert (await rig.send("GET", "/numbers")).json()["error"] == "the author says so"
