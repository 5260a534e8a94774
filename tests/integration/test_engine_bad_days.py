"""An engine on bad days: workers that lie, thousands who wait, a full disk, a port and a store that are taken, and a
clock that goes back."""

# ruff: noqa: ASYNC110 - what is waited for is seen by asking
from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.engine.app import running_engine
from pyworker.engine.core.limits import Rate, Rates
from pyworker.engine.engine import Engine, EngineConfig, moment
from pyworker.engine.pressure import MOST_HELD
from pyworker.errors import ConfigurationError, StoreFull, StoreInUse
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer
from tests.support.disks import a_small_disk, fill
from tests.support.engines import API_KEY, EngineUnderTest, Fleet, ReportingWorker, a_fleet, a_folder, an_engine

KEY = {"Authorization": f"Bearer {API_KEY}"}
UNLIMITED = Rates(*(Rate(per_s=1e6, burst=1e6) for _ in range(3)))


# --- workers that lie -----------------------------------------------------------------------------

NUMBERS = (
    "cur_load",
    "new_load",
    "rej_load",
    "cur_perf",
    "max_perf",
    "loadtime",
    "disk_usage",
    "num_requests_working",
    "num_requests_recieved",
)


@pytest.mark.parametrize("lie", ["NaN", "Infinity", "-Infinity", "-1", "-1e308", "1e308", "1e999", '"many"', "null"])
async def test_whatever_number_a_worker_claims_the_engine_goes_on(lie: str) -> None:
    async with a_fleet(rates=UNLIMITED) as (engine, fleet):
        honest, liar = await fleet.join(), await fleet.join()
        report = {"id": liar.id, "mtoken": liar.mtoken, "url": liar.url, "state": "ready", "max_perf": 100.0}
        for name in NUMBERS:
            body = json.dumps({**report, name: "LIE"}).replace('"LIE"', lie)
            assert (await engine.post("/worker_status/", body.encode()))[0] in {200, 400}
            await honest.report()
            answered = {(await engine.route())["url"] for _ in range(3)}
            assert answered <= {honest.url, liar.url}
            _, state = await engine.get("/state", headers=KEY)
            assert all(math.isfinite(number) and number >= 0 for number in _numbers(state["endpoints"]))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield value


async def test_a_worker_cannot_speak_for_another() -> None:
    async with a_fleet() as (engine, fleet):
        victim, liar = await fleet.join(), await fleet.join()
        claims = {"url": victim.url, "state": "ready", "cur_load": 1e6, "error_msg": "broken"}
        for told in (
            {"id": victim.id, "mtoken": liar.mtoken},
            {"id": liar.id, "mtoken": victim.mtoken},
            {"id": victim.id, "mtoken": victim.mtoken[:-1]},
            {"id": liar.id, "mtoken": liar.mtoken},  # at the other's address
        ):
            assert (await engine.post("/worker_status/", {**claims, **told}))[0] == 401
        assert {(await engine.route())["url"] for _ in range(6)} == {victim.url, liar.url}


async def test_what_is_said_twice_or_late_counts_once() -> None:
    async with a_fleet() as (engine, fleet):
        worker, other = await fleet.join(), await fleet.join()
        sent = [await engine.route(cost=50) for _ in range(4)]
        mine = [answer["request_idx"] for answer in sent if answer["url"] == worker.url]
        told = {"cur_load": 50.0 * len(mine), "working_request_idxs": mine, "num_requests_recieved": len(mine)}
        for _ in range(3):
            await worker.report(**told)
        assert (await _listed(engine, worker))["cur_load"] == 50.0 * len(mine)
        for _ in range(3):  # and somebody else says it, too
            assert (await worker.finished(mine[0]))[0] == 200
            assert (await other.finished(mine[0]))[0] == 200
        await worker.report(cur_load=0.0, num_requests_recieved=len(mine))
        await worker.report(**told)  # from before
        await worker.report(cur_load=0.0, num_requests_recieved=len(mine))
        assert (await _listed(engine, worker))["cur_load"] == 0.0
        assert (await _listed(engine, worker))["reliability"] == 1.0


async def test_a_worker_cannot_say_that_anothers_request_failed() -> None:
    async with a_fleet() as (engine, fleet):
        worker, liar = await fleet.join(), await fleet.join()
        answer = await engine.route()
        if answer["url"] == liar.url:
            worker, liar = liar, worker
        await liar.finished(answer["request_idx"], "Error")
        again = await engine.route(request_idx=answer["request_idx"])
        assert (again["url"], again["signature"]) == (worker.url, answer["signature"])


async def test_a_worker_cannot_forge_a_line_of_its_endpoints_log() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        forged = "\x1b]0;owned\x07\n2026-11-24T18:08:00.000Z the endpoint is deleted by admin\x1b[2K\u2028\u202e"
        await worker.report(error_msg=f"broken{forged}")
        _, said = await engine.post("/get_endpoint_logs/", {"id": 1, "tail": 50, "api_key": API_KEY})
        lines = said["info0"].split("\n")
        assert [line for line in lines if "deleted by admin" in line] == [line for line in lines if "broken" in line]
        assert "".join(lines).isprintable()


async def _listed(engine: EngineUnderTest, worker: ReportingWorker) -> dict[str, Any]:
    _, listed = await engine.post("/get_endpoint_workers/", {"id": 1, "api_key": API_KEY})
    return next(one for one in listed if one["id"] == worker.id)


# --- thousands who wait ---------------------------------------------------------------------------


async def _ask(engine: Engine) -> RouteAnswer | WaitingAnswer:
    """What a call of /route/ with ``wait`` does, without its socket."""
    endpoint = engine.registry.endpoint("default")
    routed = engine.dispatcher.route("owner", endpoint, RouteRequest("default", API_KEY, 1.0), moment())
    assert isinstance(routed, WaitingAnswer)
    return await engine.hold(routed.request_idx, 50.0) or routed


async def test_ten_thousand_held_requests_are_each_answered_when_a_worker_comes() -> None:
    async with running_engine(EngineConfig(API_KEY, ("default",), port=0)) as running:
        engine = running.engine
        held = [asyncio.create_task(_ask(engine)) for _ in range(MOST_HELD)]
        while len(engine.waiting) < MOST_HELD:
            await asyncio.sleep(0.01)
        turned_away = await _ask(engine)  # one more is not held: it polls
        assert isinstance(turned_away, WaitingAnswer)
        await asyncio.wait(held, timeout=1.2)  # the engine has its ticks and decisions meanwhile
        assert not any(task.done() for task in held)
        async with aiohttp.ClientSession() as http, Fleet(EngineUnderTest(running.url, http)) as fleet:
            await fleet.join(report={"max_perf": 1e6})
            answers = await asyncio.gather(*held)
        assert all(isinstance(answer, RouteAnswer) for answer in answers)
        assert len({answer.request_idx for answer in answers}) == MOST_HELD
        assert (len(engine.waiting), engine.pressure.held) == (0, 0)


# --- a full disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with a_small_disk(tmp_path) as disk:
        yield disk


async def _make(engine: EngineUnderTest, name: str) -> int:
    return (await engine.post("/api/v0/endptjobs/", {"endpoint_name": name}, headers=KEY))[0]


async def test_while_the_disk_is_full_requests_are_routed_and_afterwards_all_works_again(small_disk: Path) -> None:
    folder = await asyncio.to_thread(a_folder, small_disk)
    async with a_fleet(folder=folder, rates=UNLIMITED) as (engine, fleet):
        worker, other = await fleet.join(), await fleet.join()
        ballast = await asyncio.to_thread(fill, small_disk)
        made = ["endpoint-0"]
        while (status := await _make(engine, made[-1])) == 200:  # what fits into the journal still is stored
            made.append(f"endpoint-{len(made)}")
        assert status == 507
        _, listed = await engine.get("/api/v0/endptjobs/", headers=KEY)
        assert [one["endpoint_name"] for one in listed["results"]] == ["default", *made[:-1]]  # nothing half made
        assert (await engine.post("/api/v0/worker_tokens/", {"endpoint": "default"}, headers=KEY))[0] == 507
        for what in ("endptjobs/1", f"workers/{other.id}"):  # a delete that could be lost is none
            async with engine.http.delete(f"{engine.url}/api/v0/{what}/", headers=KEY) as response:
                assert (response.status, "is full" in await response.text()) == (507, True)
        for _ in range(20):
            answer = await engine.route()
            chosen = worker if worker.is_ours(answer) else other
            assert chosen.is_ours(answer)
            assert (await chosen.report())[0] == 200
            assert (await chosen.finished(answer["request_idx"]))[0] == 200
        await asyncio.to_thread(ballast.unlink)
        while await _make(engine, "afterwards") != 200:
            await asyncio.sleep(0.05)
        assert (await other.report())[0] == 200
        async with engine.http.delete(f"{engine.url}/api/v0/workers/{other.id}/", headers=KEY) as response:
            assert response.status == 200
        while (await other.report())[0] != 401:
            await asyncio.sleep(0.05)
        assert (await fleet.join()).is_ours(await engine.route()) or worker.is_ours(await engine.route())
    async with an_engine(folder) as engine:
        _, listed = await engine.get("/api/v0/endptjobs/", headers=KEY)
        assert [one["endpoint_name"] for one in listed["results"]] == ["default", *made[:-1], "afterwards"]


async def test_what_became_of_a_worker_is_stored_later_when_it_cannot_be_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with running_engine(EngineConfig(API_KEY, ("default",), port=0), folder) as running:
        store, tries = running.engine.store, asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()

        def save_workers(_rows: object) -> None:
            loop.call_soon_threadsafe(tries.release)
            raise StoreFull("full")

        async with aiohttp.ClientSession() as http, Fleet(EngineUnderTest(running.url, http)) as fleet:
            with monkeypatch.context() as full:
                full.setattr(store, "save_workers", save_workers)
                worker = await fleet.join()
                for _ in range(3):
                    await tries.acquire()
            while not (row := (await asyncio.to_thread(store.workers))[0]).url:
                await asyncio.sleep(0.05)
            assert (row.url, row.reported_id) == (worker.url, worker.id)
    said = [record.getMessage() for record in caplog.records if "cannot be stored" in record.getMessage()]
    assert len(said) == 1


async def test_a_row_that_cannot_be_stored_is_in_nobodys_way(caplog: pytest.LogCaptureFixture) -> None:
    async with running_engine(EngineConfig(API_KEY, ("default",), port=0)) as running, aiohttp.ClientSession() as http:
        engine = EngineUnderTest(running.url, http)
        async with ReportingWorker(engine, await engine.token(), 2**70) as odd, Fleet(engine) as fleet:
            await odd.report()
            worker = await fleet.join()
            while not any(row.url == worker.url for row in await asyncio.to_thread(running.engine.store.workers)):
                await asyncio.sleep(0.05)
    assert "what became of worker 1 cannot be stored: a whole number is too large" in caplog.text


# --- a port and a store that are taken ------------------------------------------------------------


async def test_a_port_that_is_taken_is_named_and_the_store_is_free_again(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine() as other:
        port = int(other.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port} .* --port"):
            async with an_engine(folder, port=port):
                pass
        async with an_engine(folder) as engine:
            assert "request_idx" in await engine.route()
        assert "request_idx" in await other.route()


async def test_a_first_start_on_a_port_that_is_taken_makes_no_key_that_nobody_has_seen(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine() as other:
        port = int(other.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError):
            async with running_engine(EngineConfig(None, ("default",), port=port), folder):
                pass
        async with running_engine(EngineConfig(None, ("default",), port=0), folder) as running:
            assert running.new_key is not None
            assert running.engine.keys.opens_account(running.new_key)


async def test_a_second_engine_on_one_store_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine(folder) as engine:
        with pytest.raises(StoreInUse):
            async with an_engine(folder):
                pass
        assert await _make(engine, "another") == 200
    async with an_engine(folder) as engine:
        assert "request_idx" in await engine.route(endpoint="another")


# --- a clock that goes back -----------------------------------------------------------------------


async def test_numbers_do_not_go_back_with_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    now = time.time
    async with an_engine(folder) as engine, Fleet(engine) as fleet:
        worker = await fleet.join()
        before = [await engine.route() for _ in range(3)]
        monkeypatch.setattr(time, "time", lambda: now() - 3600)
        before.append(await engine.route())  # while it runs, too
        await engine.post("/api/v0/endptjobs/", {"endpoint_name": "brief", "auto_delete_in_seconds": 60}, headers=KEY)
    async with an_engine(folder) as engine:
        worker.engine = engine
        assert (await worker.report())[0] == 200
        after = await engine.route()
        assert worker.is_ours(after)
        for name in ("request_idx", "reqnum"):
            numbers = [answer[name] for answer in (*before, after)]
            assert numbers == sorted(set(numbers))
        _, listed = await engine.get("/api/v0/endptjobs/", headers=KEY)
        assert [one["endpoint_name"] for one in listed["results"]] == ["default", "brief"]
