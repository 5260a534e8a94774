"""``/routes/``: several requests of one client ask for their workers in one call."""

from __future__ import annotations

from typing import Any

import pytest

from pyworker.wire_routes import MOST_ROUTES
from tests.support.engines import API_KEY, EngineUnderTest, a_fleet, an_engine

ONE = {"endpoint": "default", "cost": 10}


async def _ask(engine: EngineUnderTest, *requests: Any, **fields: Any) -> tuple[int, Any]:
    return await engine.post("/routes/", {"requests": list(requests), "api_key": API_KEY, **fields})


async def test_each_gets_what_it_would_get_alone() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        status, answered = await _ask(engine, ONE, {**ONE, "cost": 20})
        assert status == 200
        first, second = answered["answers"]
        assert (first["url"], first["cost"], second["cost"]) == (worker.url, 10, 20)
        assert first["request_idx"] != second["request_idx"]
        assert worker.is_ours(first)
        assert worker.is_ours(second)


async def test_one_that_is_refused_is_null_and_the_others_are_answered() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        status, answered = await _ask(engine, ONE, {**ONE, "endpoint": "nope"}, {**ONE, "cost": -1}, ONE)
        assert (status, [answer and answer["url"] for answer in answered["answers"]]) == (
            200,
            [worker.url, None, None, worker.url],
        )


async def test_none_is_held_and_each_may_wait_for_itself() -> None:
    async with a_fleet() as (engine, fleet):
        _, answered = await _ask(engine, {**ONE, "wait": 60}, {**ONE, "wait": 60})
        assert [("url" in answer, answer["position"]) for answer in answered["answers"]] == [(False, 1), (False, 2)]
        worker = await fleet.join()
        again = await engine.route(request_idx=answered["answers"][1]["request_idx"], cost=10)
        assert again["url"] == worker.url


async def test_a_wrong_key_gets_nothing_whatever_the_requests_say() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        status, answered = await _ask(engine, {**ONE, "api_key": API_KEY}, api_key="wrong")
        assert (status, answered["error"]) == (401, "wrong_key")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "requests"),
        ({"requests": []}, f"from 1 to {MOST_ROUTES}"),
        ({"requests": [ONE] * (MOST_ROUTES + 1)}, f"from 1 to {MOST_ROUTES}"),
        ({"requests": [{"cost": 1}]}, "endpoint"),
        ({"requests": "all"}, "requests"),
        (b"[]", "object"),
    ],
)
async def test_bad_input_names_what_is_wrong(body: Any, word: str) -> None:
    async with an_engine() as engine:
        status, answered = await engine.post("/routes/", body, headers={"Authorization": f"Bearer {API_KEY}"})
        assert status == 400
        assert word in answered["msg"]


async def test_a_body_that_is_too_large_for_that_is_not_read() -> None:
    async with an_engine() as engine:
        too_large = engine.http.post(f"{engine.url}/routes/", data=b"[" + b" " * 300_000)
        async with too_large as response:
            assert response.status == 413
