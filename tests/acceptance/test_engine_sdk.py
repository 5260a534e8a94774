"""The SDK's own client through our engine, to workers that check every ticket; and the SDK's own worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pyworker.testing import Behaviour, FakeModel, FakeRequest, FakeServer, WorkerProcess, answer, drop, stream
from tests.support.engines import API_KEY, ReportingWorker, a_fleet, an_engine
from tests.support.scaled_engine import a_world, deployment
from tests.support.sdk import SDK_PYTHON, SDK_WORKER, limit_s, needs_sdk, sdk_calls

pytestmark = [needs_sdk, limit_s]

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


async def test_its_worker_joins_our_engine_and_takes_the_engines_signatures(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    log.touch()
    async with an_engine() as engine, FakeModel(log_path=log) as model:
        model.on("/generate", answer({"response": "Hi"}))
        token = await engine.token(signature_scheme=4)
        env = {"REPORT_ADDR": engine.url, "MASTER_TOKEN": token.mtoken, "UNSECURED": "false"}
        env |= {"MODEL_PORT": str(model.port), "MODEL_LOG": str(log)}
        async with WorkerProcess([str(SDK_PYTHON), str(SDK_WORKER)], env=env, cwd=tmp_path) as worker:
            model.log("model loaded")
            answered, again = await sdk_calls(engine.url, API_KEY, "default", GENERATE, GENERATE)
            assert answered == again == {"status": 200, "response": {"response": "Hi"}, "url": worker.url}


async def test_it_makes_an_endpoint_whose_workers_come_from_a_template_uses_it_and_deletes_it(tmp_path: Path) -> None:
    described = {"endpoint_name": "images", "min_load": 0.0, "cold_workers": 0, "max_workers": 1, "target_util": 0.8}
    group = {"template_hash": "group-0", "gpu_ram": 24.0, "launch_args": "--shm-size 1g", "search_params": "num_gpus=1"}
    payload = {"tokens": 2}
    steps = [
        {"do": "request", "route": "/generate", "payload": payload, "cost": 2},
        {"do": "session", "route": "/generate", "payload": payload, "cost": 2},
        {"do": "workers"},
    ]
    async with a_world(deployment(), tmp_path / "engine") as world:
        managing = {"do": "manage", "endpoint": described, "group": group, "steps": steps}
        (seen,) = await sdk_calls(world.running.url, API_KEY, "default", managing)
        assert "raised" not in seen, seen
        assert seen["found"]
        assert described.items() <= seen["endpoint"]["config"].items()
        assert seen["request"]["status"] == 200
        assert seen["session"] == {"statuses": [200, 200], "was_open": True, "is_open": False}
        assert [worker["status"] for worker in seen["workers"]] == ["IDLE"] == seen["listed"]
        assert seen["managed"].keys() == seen["request"]["response"].keys()
        assert seen["updated"]["success"]
        assert (seen["group_left"], seen["left"]) == (None, ["default"])


async def test_a_template_that_the_engine_does_not_have_is_told_plainly() -> None:
    async with an_engine() as engine:
        _, listed = await engine.get("/api/v0/endptjobs/", headers={"Authorization": f"Bearer {API_KEY}"})
        group = {"endpoint_id": listed["results"][0]["id"], "template_hash": "a1b2", "gpu_ram": 24.0}
        (told,) = await sdk_calls(engine.url, API_KEY, "default", {"do": "create_group", "group": group})
        assert "template_hash names no workergroup template" in told["raised"]


async def test_it_gives_up_at_once_when_the_engine_is_down_as_the_pages_say() -> None:
    async with an_engine() as engine, FakeServer() as front:
        _, listed = await engine.get("/api/v0/endptjobs/", headers={"Authorization": f"Bearer {API_KEY}"})
        async with engine.http.get(f"{engine.url}/static/jvastai_root.cer") as response:
            front.on("/static/jvastai_root.cer", answer(await response.text()))
        front.on("/api/v0/endptjobs/", answer(listed))
        front.on("/route/", drop())
        (told,) = await sdk_calls(front.url, API_KEY, "default", GENERATE)
        assert "Failed to route endpoint" in told["raised"]
        assert [request.path for request in front.requests].count("/route/") == 1
