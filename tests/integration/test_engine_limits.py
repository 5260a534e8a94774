"""Who calls an engine too often is told so, and when to come back; one with too much to do refuses at once."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import pytest

from pyworker.engine.core.limits import Rate, Rates
from tests.support.engines import API_KEY, EngineUnderTest, a_fleet, an_engine

KEY = {"Authorization": f"Bearer {API_KEY}"}
WRONG = {"Authorization": "Bearer guess"}
SLOW = Rate(per_s=0.001, burst=3.0)
LISTED = "/api/v0/endptjobs/"


async def _get(engine: EngineUnderTest, headers: dict[str, str]) -> aiohttp.ClientResponse:
    response = await engine.http.get(engine.url + LISTED, headers=headers)
    await response.read()
    return response


# --- how often ------------------------------------------------------------------------------------


async def test_who_guesses_keys_is_told_to_slow_down_and_who_has_one_is_let_in_from_the_same_address() -> None:
    async with an_engine(rates=Rates(failures=SLOW)) as engine:
        assert [(await _get(engine, WRONG)).status for _ in range(5)] == [401, 401, 401, 429, 429]
        assert int((await _get(engine, WRONG)).headers["Retry-After"]) > 1
        assert (await _get(engine, KEY)).status == 200
        report = {"id": 1, "mtoken": "guess", "url": "http://127.0.0.1:1"}
        assert (await engine.post("/worker_status/", report))[0] == 429


async def test_a_wrong_key_stays_one_at_route_for_clients_take_anything_as_final() -> None:
    async with an_engine(rates=Rates(failures=SLOW, management=SLOW, reports=SLOW)) as engine:
        asked = {"endpoint": "default", "cost": 1}
        assert {(await engine.post("/route/", {**asked, "api_key": "guess"}))[0] for _ in range(9)} == {401}
        assert {(await engine.post("/route/", {**asked, "api_key": API_KEY}))[0] for _ in range(9)} == {200}


async def test_a_worker_that_reports_without_end_slows_down_no_other() -> None:
    async with a_fleet(rates=Rates(reports=SLOW)) as (engine, fleet):
        busy, other = await fleet.join(), await fleet.join()
        assert [(await busy.report())[0] for _ in range(3)] == [200, 200, 429]
        assert (await busy.finished(1))[0] == 429
        assert (await other.report())[0] == 200
        assert (await engine.route())["url"]


async def test_each_account_key_has_calls_of_its_own() -> None:
    async with an_engine(rates=Rates(management=SLOW)) as engine:
        _, made = await engine.post("/api/v0/keys/", {"name": "another"}, headers=KEY)
        assert [(await _get(engine, KEY)).status for _ in range(3)] == [200, 200, 429]
        assert (await _get(engine, {"Authorization": f"Bearer {made['api_key']}"})).status == 200


async def test_what_workers_and_people_do_is_far_below_the_limits() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        assert {(await worker.report())[0] for _ in range(20)} == {200}
        assert {(await _get(engine, KEY)).status for _ in range(60)} == {200}


# --- too much to do -------------------------------------------------------------------------------


def _block(for_s: float) -> None:
    """What a loop that is blocked does: nothing else."""
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s:
        pass


@pytest.mark.may_block
async def test_an_engine_that_is_late_refuses_management_at_once_and_has_new_requests_wait() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        known: dict[str, Any] = await engine.route()
        _block(4.0)
        refused = await _get(engine, {})  # who asks is not even looked at
        assert (refused.status, int(refused.headers["Retry-After"])) == (503, 1)
        waiting = await engine.route()
        assert ("url" in waiting, waiting["status"]) == (False, "the engine has too much to do: ask again")
        assert (await engine.post("/route/", {"endpoint": "default", "api_key": "guess", "cost": 1}))[0] == 401
        assert (await worker.report())[0] == 200
        assert (await worker.finished(known["request_idx"]))[0] == 200
        while (await _get(engine, KEY)).status != 200:  # it comes back by itself
            pass
        assert (await engine.route())["url"] == worker.url
