"""What an endpoint and a workergroup may be told over HTTP: to delete itself, and which commands it may not bring."""

# ruff: noqa: ASYNC110 - what is waited for is seen by asking
from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import API_KEY, EngineUnderTest, a_fleet, a_folder, an_engine

KEY = {"Authorization": f"Bearer {API_KEY}"}
ENDPOINTS = "/api/v0/endptjobs/"


async def _endpoints(engine: EngineUnderTest) -> dict[str, dict[str, Any]]:
    _, listed = await engine.get(ENDPOINTS, headers=KEY)
    return {endpoint["endpoint_name"]: endpoint for endpoint in listed["results"]}


async def _put(engine: EngineUnderTest, path: str, body: dict[str, Any]) -> int:
    async with engine.http.put(engine.url + path, json=body, headers=KEY) as response:
        return response.status


# --- deletes itself -------------------------------------------------------------------------------


async def test_an_endpoint_deletes_itself_when_its_time_is_over_with_its_workers_and_those_who_wait() -> None:
    async with a_fleet() as (engine, fleet):
        made = {"endpoint_name": "brief", "auto_delete_in_seconds": 1.0}
        assert (await engine.post(ENDPOINTS, made, headers=KEY))[0] == 200
        assert (await _endpoints(engine))["brief"]["auto_delete_due_24h"]
        worker = await fleet.join(endpoint="brief", report={"state": "starting"})
        held = asyncio.create_task(engine.route(endpoint="brief", wait=30))
        while "brief" in await _endpoints(engine):
            await asyncio.sleep(0.05)
        assert "url" not in await held
        while (await worker.report())[0] == 200:  # its workers are told to drain before they are forgotten
            await asyncio.sleep(0.2)
        assert (await worker.report())[0] == 401
        assert "default" in await _endpoints(engine)


async def test_it_does_so_after_a_restart_too(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine(folder) as engine:
        await engine.post(ENDPOINTS, {"endpoint_name": "brief", "auto_delete_in_seconds": 2.0}, headers=KEY)
        due_s = time.monotonic() + 2.0
    async with an_engine(folder) as engine:
        while "brief" in await _endpoints(engine):
            await asyncio.sleep(0.05)
        assert time.monotonic() > due_s - 0.1
    async with an_engine(folder) as engine:
        assert list(await _endpoints(engine)) == ["default"]


async def test_the_time_can_be_changed_and_counts_from_then_on() -> None:
    async with an_engine() as engine:
        endpoint = (await _endpoints(engine))["default"]
        assert (endpoint["auto_delete_in_seconds"], endpoint["auto_delete_due_24h"]) == (None, False)
        path = f"{ENDPOINTS}{endpoint['id']}/"
        assert await _put(engine, path, {"auto_delete_in_seconds": 90_000}) == 200
        assert await _put(engine, path, {"auto_delete_in_seconds": None}) == 200
        endpoint = (await _endpoints(engine))["default"]
        assert endpoint["auto_delete_in_seconds"] == pytest.approx(90_000, abs=60)
        assert not endpoint["auto_delete_due_24h"]
        assert await _put(engine, path, {"auto_delete_in_seconds": 0}) == 400  # at once? or never?


async def test_that_an_endpoint_deletes_itself_can_be_taken_back(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with an_engine(folder) as engine:
        endpoint = (await _endpoints(engine))["default"]
        path = f"{ENDPOINTS}{endpoint['id']}/"
        assert await _put(engine, path, {"auto_delete_in_seconds": 90_000}) == 200
        assert await _put(engine, path, {"auto_delete_in_seconds": -1}) == 200
        assert (await _endpoints(engine))["default"]["auto_delete_in_seconds"] is None
        made = {"endpoint_name": "kept", "auto_delete_in_seconds": -1}
        assert (await engine.post(ENDPOINTS, made, headers=KEY))[0] == 200
    async with an_engine(folder) as engine:
        found = await _endpoints(engine)
        assert {name: one["auto_delete_in_seconds"] for name, one in found.items()} == {"default": None, "kept": None}


async def test_an_endpoint_can_be_made_to_rest_from_the_beginning() -> None:
    async with an_engine() as engine:
        made = {"endpoint_name": "resting", "endpoint_state": "stopped"}
        assert (await engine.post(ENDPOINTS, made, headers=KEY))[0] == 200
        assert (await _endpoints(engine))["resting"]["endpoint_state"] == "stopped"
        wrong = {"endpoint_name": "odd", "endpoint_state": "asleep"}
        assert (await engine.post(ENDPOINTS, wrong, headers=KEY))[0] == 400
        assert "odd" not in await _endpoints(engine)


# --- commands -------------------------------------------------------------------------------------

GROUP = {"endpoint_name": "default", "name": "shell", "provider": "local"}
LAUNCH = {"worker": ["sh", "-c", "true"]}


async def test_an_engine_that_others_can_call_takes_no_commands_from_them() -> None:
    async with an_engine(host="0.0.0.0") as engine:  # noqa: S104 - that is what is tested
        status, told = await engine.post("/api/v0/workergroups/", {**GROUP, "launch": LAUNCH}, headers=KEY)
        assert (status, told["error"], "--allow-launch" in told["msg"]) == (403, "launch_forbidden", True)
        status, made = await engine.post(
            "/api/v0/workergroups/", {"endpoint_name": "default", "name": "own"}, headers=KEY
        )
        assert status == 200
        assert await _put(engine, f"/api/v0/workergroups/{made['id']}/", {"launch": LAUNCH}) == 403


@pytest.mark.parametrize("told", [{"host": "127.0.0.1"}, {"host": "0.0.0.0", "allow_launch": True}])  # noqa: S104
async def test_on_loopback_or_when_it_was_allowed_it_does(told: dict[str, Any]) -> None:
    async with an_engine(**told) as engine:
        group = {**GROUP, "launch": LAUNCH, "max_workers": 0}
        assert (await engine.post("/api/v0/workergroups/", group, headers=KEY))[0] == 200


async def test_what_a_client_says_of_its_registry_is_not_kept() -> None:
    async with an_engine() as engine:
        group = {"endpoint_name": "default", "name": "own", "docker_login_pass": "s3cret", "gpu_ram": 24}
        await engine.post("/api/v0/workergroups/", group, headers=KEY)
        _, listed = await engine.get("/api/v0/workergroups/", headers=KEY)
        assert listed["results"][0]["gpu_ram"] == 24
        assert "s3cret" not in str(listed)


async def test_a_template_id_names_nothing_here() -> None:
    async with an_engine() as engine:
        group = {"endpoint_name": "default", "template_id": 7}
        status, told = await engine.post("/api/v0/workergroups/", group, headers=KEY)
        assert (status, "give a template_hash instead" in told["msg"]) == (400, True)
