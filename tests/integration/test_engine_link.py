"""How a worker tells its engine, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from pyworker.testing import FakeEngine, answer, free_port
from pyworker.worker.core.gate import Gate
from pyworker.worker.reporting.engine_link import EngineLink

LOGGER = "pyworker.engine_link"


@asynccontextmanager
async def a_link(*addrs: str) -> AsyncGenerator[EngineLink]:
    gate = Gate(url="http://127.0.0.1:3000", unsecured=True, ticket_keys=[], started_s=0.0)
    link = EngineLink(addrs, gate)
    try:
        yield link
    finally:
        await link.close()


async def test_a_token_that_the_engine_does_not_know_is_said_once_with_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", LOGGER)
    async with FakeEngine() as engine, a_link(engine.url) as link:
        for path in ("/worker_status/", "/delete_requests/"):
            engine.on(path, answer(status=401))
        for path in ("/worker_status/", "/delete_requests/") * 3:
            assert not await link.post(path, b"{}")
        assert "get a new one with `pyworker worker token -e ENDPOINT`" in link.last_error
        assert [record.getMessage() for record in caplog.records] == [f"the engine cannot be told: {link.last_error}"]
        assert link.errors == 6

        for path in ("/worker_status/", "/delete_requests/"):
            engine.on(path, answer({"success": True}))
            assert await link.post(path, b"{}")
        assert link.last_error == ""
        assert [record.getMessage() for record in caplog.records][1:] == ["the engine answers again"]


async def test_the_second_address_is_asked_when_the_first_is_dead_and_comes_first_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", LOGGER)
    async with FakeEngine() as engine, a_link(f"http://127.0.0.1:{free_port()}", engine.url) as link:
        engine.on("/worker_status/", answer({"success": True}))
        assert [await link.post("/worker_status/", b"{}") for _ in range(3)] == [True] * 3
        assert (link.errors, link.last_error) == (1, "")
        assert [record.getMessage() for record in caplog.records] == [
            f"the engine is asked at {engine.url} first from now on"
        ]


async def test_of_two_failures_the_one_that_is_an_answer_is_shown() -> None:
    async with FakeEngine() as engine, a_link(engine.url, f"http://127.0.0.1:{free_port()}") as link:
        engine.on("/worker_status/", answer(status=500))
        assert not await link.post("/worker_status/", b"{}")
        assert link.last_error == f"{engine.url}/worker_status/ answers 500"
