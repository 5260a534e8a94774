"""A key's own limits, as whoever asks with it sees them: at /route/, and through both gateways."""

# ruff: noqa: ASYNC110 - what is waited for is seen by asking

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.client import Client
from pyworker.errors import EngineRefused
from pyworker.gateway.serve import running_gateway
from pyworker.testing import by_hand
from tests.support.engines import API_KEY, EngineUnderTest, a_fleet, a_folder, an_engine
from tests.support.site import Site, a_site
from tests.support.workers.rig import until

pytestmark = pytest.mark.limit_s(30)

ACCOUNT = {"Authorization": f"Bearer {API_KEY}"}
KEYS = "/api/v0/keys/"
CHAT = "/openai/default/v1/chat/completions"


async def a_key(engine: EngineUnderTest, **limits: float) -> tuple[int, str]:
    status, made = await engine.post(KEYS, {"name": "limited", **limits}, headers=ACCOUNT)
    assert status == 200, made
    return made["id"], made["api_key"]


async def limit(engine: EngineUnderTest, key_id: int, **limits: Any) -> tuple[int, Any]:
    async with engine.http.put(f"{engine.url}{KEYS}{key_id}/", json=limits, headers=ACCOUNT) as response:
        return response.status, await response.json()


async def ask(engine: EngineUnderTest, key: str, **fields: Any) -> tuple[int, dict[str, Any], str | None]:
    body = {"endpoint": "default", "api_key": key, "cost": 100, **fields}
    async with engine.http.post(f"{engine.url}/route/", json=body) as response:
        return response.status, await response.json(), response.headers.get("Retry-After")


async def is_one_held(engine: EngineUnderTest) -> bool:
    async with engine.http.get(f"{engine.url}/metrics", headers=ACCOUNT) as response:
        return "pyworker_engine_calls_held 1.0" in await response.text()


# --- requests a minute ----------------------------------------------------------------------------


async def test_a_request_too_many_is_429_with_the_limit_and_when_to_come_back() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        _, key = await a_key(engine, requests_per_minute=1)
        status, answer, _ = await ask(engine, key)
        assert status == 200
        for _ in range(3):  # polls and retries are the same request
            assert (await ask(engine, key, request_idx=answer["request_idx"]))[0] == 200
        status, refused, retry_after = await ask(engine, key)
        assert (status, refused["error"]) == (429, "key_limit_reached")
        assert refused["msg"].startswith("this key's limit of 1 requests a minute is reached: 1 are used; come back in")
        assert 1 <= int(retry_after or 0) <= 61
        assert (await ask(engine, API_KEY))[0] == 200, "another key has its own"


async def test_an_endpoints_own_key_has_the_limits_that_the_endpoint_is_told() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        listed = (await engine.get("/api/v0/endptjobs/", headers=ACCOUNT))[1]["results"][0]
        path = f"{engine.url}/api/v0/endptjobs/{listed['id']}/"
        async with engine.http.put(path, json={"key_requests_per_minute": 1}, headers=ACCOUNT) as response:
            assert response.status == 200
        assert [(await ask(engine, listed["api_key"]))[0] for _ in range(2)] == [200, 429]
        async with engine.http.put(path, json={"key_requests_per_minute": -1}, headers=ACCOUNT) as response:
            assert "a number from 0 to 1e12; 0: no limit" in await response.text()
        async with engine.http.put(path, json={"key_requests_per_minute": 0}, headers=ACCOUNT) as response:
            assert response.status == 200
        assert (await ask(engine, listed["api_key"]))[0] == 200


# --- workload a minute ----------------------------------------------------------------------------


async def test_workload_is_claimed_until_the_worker_has_counted_it() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        _, key = await a_key(engine, workload_per_minute=100)
        _, answer, _ = await ask(engine, key, cost=100)
        assert (await ask(engine, key, cost=1))[0] == 429
        ended = {"request_idx": answer["request_idx"], "success": True, "status": "Success", "workload": 30.0}
        for _ in range(2):  # told again, it counts once
            body = {"worker_id": worker.id, "mtoken": worker.mtoken, "requests": [ended]}
            assert (await engine.post("/delete_requests/", body))[0] == 200
        assert (await ask(engine, key, cost=71))[0] == 429
        assert (await ask(engine, key, cost=70))[0] == 200


async def test_a_worker_counts_and_who_claimed_too_little_pays(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        await site.start_worker()
        _, key = await a_key(site.engine, workload_per_minute=50)
        headers = {"Authorization": f"Bearer {key}", "X-Cost": "1"}
        async with site.http.post(site.base + CHAT, json={}, headers=headers) as response:
            assert response.status == 200
        while True:  # the worker counts 100 for such a request, and tells so soon
            async with site.http.post(site.base + CHAT, json={}, headers=headers) as response:
                if response.status == 429:
                    break
            await asyncio.sleep(0.05)
        message = (await ask(site.engine, key, cost=1))[1]["msg"]
        assert "limit of 50 workload a minute" in message


# --- at once --------------------------------------------------------------------------------------


async def test_so_many_at_once_until_a_worker_says_that_one_has_ended() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        _, key = await a_key(engine, concurrent=2)
        answers = [(await ask(engine, key, cost=1))[1] for _ in range(2)]
        status, refused, retry_after = await ask(engine, key)
        assert (status, retry_after) == (429, "1")
        assert "2 are under way" in refused["msg"]
        await worker.finished(answers[0]["request_idx"])
        assert (await ask(engine, key, cost=1))[0] == 200
        assert (await ask(engine, key, cost=1))[0] == 429


async def test_who_is_held_is_under_way_and_who_leaves_is_not() -> None:
    async with an_engine() as engine:
        _, key = await a_key(engine, concurrent=1)
        _, waiting, _ = await ask(engine, key)
        held = asyncio.create_task(ask(engine, key, request_idx=waiting["request_idx"], wait=60))
        while not await is_one_held(engine):
            await asyncio.sleep(0.01)
        assert (await ask(engine, key))[0] == 429
        held.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await held
        while (await ask(engine, key))[0] != 200:
            await asyncio.sleep(0.05)


# --- told and kept --------------------------------------------------------------------------------


async def test_limits_are_changed_one_by_one_listed_and_kept_over_a_restart(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine(folder) as engine:
        key_id, key = await a_key(engine, requests_per_minute=1)
        assert [(await ask(engine, key))[0] for _ in range(2)] == [200, 429]
        assert (await limit(engine, key_id, concurrent=7, workload_per_minute=None))[0] == 200
    async with an_engine(folder) as engine:
        listed = (await engine.get(KEYS, headers=ACCOUNT))[1]["results"][-1]
        shown = {name: listed[name] for name in ("requests_per_minute", "workload_per_minute", "concurrent")}
        assert shown == {"requests_per_minute": 1.0, "workload_per_minute": 0.0, "concurrent": 7}
        assert [(await ask(engine, key))[0] for _ in range(2)] == [200, 429], "counts begin anew"
        assert (await limit(engine, key_id, requests_per_minute=0))[0] == 200
        assert [(await ask(engine, key))[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "field", [{"requests_per_minute": -1}, {"workload_per_minute": "much"}, {"concurrent": 1.5}, {"concurrent": -2}]
)
async def test_a_limit_that_is_none_is_named(field: dict[str, Any]) -> None:
    async with an_engine() as engine:
        key_id, _ = await a_key(engine)
        for status, answer in (
            await limit(engine, key_id, **field),
            await engine.post(KEYS, {"name": "x", **field}, headers=ACCOUNT),
        ):
            assert (status, answer["error"]) == (400, "bad_request")
            assert next(iter(field)) in answer["msg"]


async def test_a_key_that_is_not_there_or_was_revoked_gets_no_limits() -> None:
    async with an_engine() as engine:
        key_id, key = await a_key(engine)
        async with engine.http.delete(f"{engine.url}{KEYS}{key_id}/", headers=ACCOUNT) as response:
            assert response.status == 200
        for number in (key_id, 999):
            status, answer = await limit(engine, number, concurrent=1)
            assert (status, answer["error"]) == (404, "not_found")
        assert (await ask(engine, key))[0] == 401


# --- through a gateway ----------------------------------------------------------------------------


@pytest.fixture(params=["in the engine", "beside it"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        if request.param == "in the engine":
            yield made
            return
        async with running_gateway(made.engine.url) as url:
            made.base = url
            yield made


async def test_a_gateway_says_429_in_the_words_of_its_api_and_when_to_come_back(site: Site) -> None:
    await site.start_worker()
    _, key = await a_key(site.engine, requests_per_minute=1)
    headers = {"Authorization": f"Bearer {key}"}
    async with site.http.post(site.base + CHAT, json={}, headers=headers) as response:
        assert response.status == 200
    async with site.http.post(site.base + CHAT, json={"stream": True}, headers=headers) as response:
        assert (response.status, response.content_type) == (429, "application/json")
        assert 1 <= int(response.headers["Retry-After"]) <= 61
        error = (await response.json())["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", 429)
    assert "limit of 1 requests a minute" in error["message"]


async def test_a_caller_who_leaves_a_gateway_is_not_under_way_any_more(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/chat/completions", by_hand)
    _, key = await a_key(site.engine, concurrent=1)
    headers = {"Authorization": f"Bearer {key}"}

    async def call() -> int:
        async with site.http.post(site.base + CHAT, json={}, headers=headers) as response:
            return response.status

    first = asyncio.create_task(call())
    await model.requests.next()
    assert await call() == 429
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    await until(site.balanced, "the worker has noticed")
    model.on("/v1/chat/completions", lambda request: request.answer({}))
    while await call() != 200:
        await asyncio.sleep(0.05)


async def test_a_client_is_told_the_limit_and_when_to_come_back() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        _, key = await a_key(engine, requests_per_minute=1)
        await ask(engine, key)
        async with Client(engine.url, key) as client:
            with pytest.raises((EngineRefused, aiohttp.ClientError), match="limit of 1 requests a minute") as caught:
                async with client.call("default", "/generate", {}, cost=1):
                    pass
        assert isinstance(caught.value, EngineRefused)
        assert (caught.value.answered_status, caught.value.retry_after_s is not None) == (429, True)
