"""Looking at an engine: metrics, everything as JSON, changes as they happen; and who may look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from pyworker.engine.app import running_engine
from pyworker.engine.engine import EngineConfig
from tests.support.engines import API_KEY, EngineUnderTest, a_fleet, an_engine

ACCOUNT = {"Authorization": f"Bearer {API_KEY}"}


async def metrics(engine: EngineUnderTest) -> dict[str, float]:
    async with engine.http.get(f"{engine.url}/metrics", headers=ACCOUNT) as response:
        assert response.content_type == "text/plain"
        lines = (await response.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    kind = ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


@pytest.mark.parametrize("path", ["/metrics", "/state", "/events"])
async def test_only_an_account_key_lets_somebody_look(path: str) -> None:
    async with an_engine() as engine:
        _, shown = await engine.get("/api/v0/endptjobs/", headers=ACCOUNT)
        of_endpoint = shown["results"][0]["api_key"]
        for key in ("", "wrong", of_endpoint):
            assert (await engine.get(path, headers={"Authorization": f"Bearer {key}"}))[0] == 401


async def test_health_is_for_anybody() -> None:
    async with an_engine() as engine:
        assert (await engine.get("/health"))[0] == 200


async def test_metrics_say_what_there_is_and_what_was_asked() -> None:
    async with a_fleet() as (engine, fleet):
        await engine.route()
        await fleet.join(report={"max_perf": 50.0, "cur_load": 7.0})
        await engine.route(cost=5)
        await engine.post("/worker_status/", {"id": 9, "mtoken": "unknown"})
        found = await metrics(engine)
        assert found['pyworker_engine_workers{endpoint="default",state="IDLE"}'] == 1
        assert found['pyworker_engine_capacity_per_second{endpoint="default"}'] == 50
        assert found['pyworker_engine_load{endpoint="default"}'] == 7 + 100 + 5  # the one that waited has come, too
        assert found['pyworker_engine_requests_waiting{endpoint="default"}'] == 0
        assert found['pyworker_engine_routes_total{answer="waiting",endpoint="default"}'] == 1
        assert found['pyworker_engine_routes_total{answer="routed",endpoint="default"}'] == 1
        assert found["pyworker_engine_reports_total"] == 1
        assert found["pyworker_engine_reports_refused_total"] == 1
        assert found["pyworker_engine_route_seconds_count"] == 2


async def test_the_state_holds_endpoints_groups_workers_and_loads_and_no_secret() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        await engine.route(cost=30)
        status, state = await engine.get("/state", headers=ACCOUNT)
        assert status == 200
        (endpoint,) = state["endpoints"]
        assert endpoint["endpoint"]["endpoint_name"] == "default"
        assert [group["name"] for group in endpoint["workergroups"]] == ["external"]
        assert [(one["id"], one["status"]) for one in endpoint["workers"]] == [(worker.id, "IDLE")]
        assert endpoint["load"]["in_flight"] == 30
        _, shown = await engine.get("/api/v0/endptjobs/", headers=ACCOUNT)
        for secret in (API_KEY, worker.mtoken, shown["results"][0]["api_key"]):
            assert secret not in json.dumps(state)


async def test_events_tell_what_changes_as_it_changes() -> None:
    async with a_fleet() as (engine, fleet):
        async with engine.http.get(f"{engine.url}/events", headers=ACCOUNT) as response:
            assert response.content_type == "text/event-stream"
            told = events(response)
            worker = await fleet.join()
            kind, change = await until_told(told, "worker")
            assert (kind, change["worker_id"], change["after"]) == ("worker", worker.id, "IDLE")
            made = await engine.post("/api/v0/endptjobs/", {"endpoint_name": "another", "min_load": 0}, headers=ACCOUNT)
            assert made[0] == 200
            _, change = await until_told(told, "endpoint")
            assert (change["endpoint"], change["how"]) == ("another", "made")
            lines = [(await until_told(told, "log"))[1] for _ in range(2)]
            assert "another" in {line["endpoint"] for line in lines}
        assert worker.mtoken not in str(change)


async def until_told(told: AsyncIterator[tuple[str, Any]], kind: str) -> tuple[str, Any]:
    async for event in told:
        if event[0] == kind:
            return event
    raise AssertionError("the events ended")


async def test_who_listens_is_let_go_when_the_engine_ends() -> None:
    async with aiohttp.ClientSession() as http:
        async with an_engine() as engine:
            response = await http.get(f"{engine.url}/events", headers=ACCOUNT)
            await response.content.readline()
        async with asyncio.timeout(10):
            assert await response.content.read() is not None


async def test_no_line_of_an_endpoints_log_is_lost_or_doubled_however_many_read_it() -> None:
    async with running_engine(EngineConfig(API_KEY, ("default",), port=0)) as running:
        endpoint, journal = running.engine.registry.endpoint("default"), running.engine.journal

        async def keep_reading() -> None:
            while True:
                await journal.tail(endpoint, 10)

        reading = [asyncio.create_task(keep_reading()) for _ in range(4)]
        for number in range(200):
            journal.note(endpoint, f"line {number}")
            if number % 5 == 0:
                await journal.write()
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
        lines = (await journal.tail(endpoint, 1000))["info0"].splitlines()
        assert [line.partition("line ")[2] for line in lines if "line " in line] == [str(n) for n in range(200)]
