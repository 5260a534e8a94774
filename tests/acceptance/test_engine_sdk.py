"""The SDK's own client through our engine, to workers that check every ticket."""

from __future__ import annotations

import asyncio

from pyworker.testing import Behaviour, FakeRequest, answer, stream
from tests.support.engines import API_KEY, ReportingWorker, a_fleet
from tests.support.sdk import needs_sdk, sdk_calls

pytestmark = needs_sdk

GENERATE = {"do": "request", "route": "/generate", "payload": {"prompt": "Hello"}}


async def test_it_finds_the_endpoint_and_its_workers_and_gets_an_answer_and_a_stream() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        events = [f'data: {{"token": "{word}"}}\n\n' for word in ("one", "two", "three")]
        worker.on("/generate", worker.checked(answer({"response": "Hi"})))
        worker.on("/generate_stream", worker.checked(stream(events)))
        streamed = {**GENERATE, "do": "stream", "route": "/generate_stream"}
        workers, answered, tokens = await sdk_calls(
            engine.url, API_KEY, "default", {"do": "workers"}, GENERATE, streamed
        )
        assert [(one["id"], one["status"]) for one in workers] == [(worker.id, "IDLE")]
        assert answered == {"status": 200, "response": {"response": "Hi"}, "url": worker.url}
        assert tokens == {"status": 200, "events": [{"token": "one"}, {"token": "two"}, {"token": "three"}]}


async def test_it_waits_for_a_worker_that_is_still_loading() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"state": "starting"})
        worker.on("/generate", worker.checked(answer({"response": "Hi"})))
        asked = asyncio.create_task(sdk_calls(engine.url, API_KEY, "default", GENERATE))
        await asyncio.wait([asked], timeout=1.0)  # time to be told to wait
        await worker.report()
        (answered,) = await asked
        assert answered["response"] == {"response": "Hi"}


async def test_it_goes_on_to_another_worker_when_one_refuses_connections() -> None:
    async with a_fleet() as (engine, fleet):
        dead = await fleet.join(report={"max_perf": 1000.0})  # the quickest, so it is chosen
        await dead.stop_listening()
        alive = await fleet.join()
        alive.on("/generate", alive.checked(answer({"response": "Hi"})))
        (answered,) = await sdk_calls(engine.url, API_KEY, "default", GENERATE)
        assert answered["url"] == alive.url


async def test_it_gets_another_ticket_when_a_worker_rejects_the_request() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", _rejection(worker), worker.checked(answer({"response": "Hi"})))
        (answered,) = await sdk_calls(engine.url, API_KEY, "default", GENERATE)
        assert answered["response"] == {"response": "Hi"}
        first, second = [request for request in worker.requests if request.path == "/generate"]
        assert first.json()["auth_data"]["signature"] != second.json()["auth_data"]["signature"]
        assert first.json()["auth_data"]["request_idx"] == second.json()["auth_data"]["request_idx"]


def _rejection(worker: ReportingWorker) -> Behaviour:
    """A 429 of which the engine is told."""

    async def behave(request: FakeRequest) -> None:
        await worker.finished(request.json()["auth_data"]["request_idx"], "Rejected")
        await request.answer({"error": "full"}, status=429, headers={"Retry-After": "1"})

    return behave


async def test_a_wrong_key_and_an_unknown_endpoint_are_told_plainly() -> None:
    async with a_fleet() as (engine, _):
        (told,) = await sdk_calls(engine.url, "wrong", "default", GENERATE)
        assert "401" in told["raised"]
        (told,) = await sdk_calls(engine.url, API_KEY, "nope", GENERATE)
        assert "nope could not be found" in told["raised"]
