"""Keys of an engine: made, revoked, rotated; what stays good and what does not; over a restart."""

# ruff: noqa: ASYNC110 - what is waited for is seen by asking
from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from pyworker.tickets import load_public_key, rsa_message, verify_rsa
from tests.support.engines import API_KEY, EngineUnderTest, ReportingWorker, a_fleet, an_engine, auth_data

ACCOUNT = {"Authorization": f"Bearer {API_KEY}"}


async def pubkey(engine: EngineUnderTest) -> Any:
    async with engine.http.get(f"{engine.url}/pubkey/") as response:
        return load_public_key(await response.read())


def holds(key: Any, answer: dict[str, Any]) -> bool:
    return verify_rsa(key, answer["signature"], rsa_message(4, auth_data(answer)))


async def opens(engine: EngineUnderTest, key: str) -> bool:
    status, _ = await engine.get("/api/v0/endptjobs/", headers={"Authorization": f"Bearer {key}"})
    assert status in {200, 401}
    return status == 200


async def test_an_account_key_opens_everything_until_it_is_revoked() -> None:
    async with an_engine() as engine:
        _, made = await engine.post("/api/v0/keys/", {"name": "ci"}, headers=ACCOUNT)
        assert await opens(engine, made["api_key"])
        _, listed = await engine.get("/api/v0/keys/", headers=ACCOUNT)
        assert [row["name"] for row in listed["results"]] == ["ci"]
        assert made["api_key"] not in str(listed)
        async with engine.http.delete(f"{engine.url}/api/v0/keys/{made['id']}/", headers=ACCOUNT) as response:
            assert response.status == 200
        assert not await opens(engine, made["api_key"])


async def test_keys_survive_a_restart_and_so_does_their_revocation(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with an_engine(folder) as engine:
        kept = (await engine.post("/api/v0/keys/", {"name": "kept"}, headers=ACCOUNT))[1]
        revoked = (await engine.post("/api/v0/keys/", {"name": "revoked"}, headers=ACCOUNT))[1]
        async with engine.http.delete(f"{engine.url}/api/v0/keys/{revoked['id']}/", headers=ACCOUNT):
            pass
    async with an_engine(folder) as engine:
        assert await opens(engine, kept["api_key"])
        assert not await opens(engine, revoked["api_key"])


async def test_changes_of_an_endpoint_at_once_are_all_made_and_none_undoes_a_revocation() -> None:
    async with an_engine() as engine:
        _, shown = await engine.get("/api/v0/endptjobs/1/", headers=ACCOUNT)
        url = f"{engine.url}/api/v0/endptjobs/1/"

        async def put(**fields: float) -> int:
            async with engine.http.put(url, json=fields, headers=ACCOUNT) as response:
                return response.status

        made, *_ = await asyncio.gather(
            engine.post("/api/v0/endptjobs/1/key/", {}, headers=ACCOUNT),
            put(max_workers=7),
            put(min_load=3.0),
            put(target_util=0.5),
        )
        _, after = await engine.get("/api/v0/endptjobs/1/", headers=ACCOUNT)
        result = after["result"]
        assert (result["max_workers"], result["min_load"], result["target_util"]) == (7, 3.0, 0.5)
        assert result["api_key"] == made[1]["api_key"] != shown["result"]["api_key"]


async def test_an_endpoints_key_opens_nothing_once_another_was_made() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join()
        _, shown = await engine.get("/api/v0/endptjobs/1/", headers=ACCOUNT)
        before = shown["result"]["api_key"]
        assert "url" in await engine.route(api_key=before)
        _, made = await engine.post("/api/v0/endptjobs/1/key/", {}, headers=ACCOUNT)
        assert "url" in await engine.route(api_key=made["api_key"])
        status, _ = await engine.post("/route/", {"endpoint": "default", "api_key": before, "cost": 1})
        assert status == 401


@pytest.mark.parametrize("state", [None, "ready"], ids=["theirs", "ours"])
async def test_after_a_rotation_a_worker_of_others_keeps_the_key_that_it_fetched_until_it_starts_anew(
    state: str | None,
) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"state": state, "num_requests_recieved": 3}, signature_scheme=4)
        old = await pubkey(engine)
        assert holds(old, await engine.route())
        _, rotated = await engine.post("/api/v0/keys/rotate/", {"kind": "rsa"}, headers=ACCOUNT)
        assert rotated["generation"] == 2
        new = await pubkey(engine)
        await worker.report(state=state, num_requests_recieved=4)
        assert holds(old if state is None else new, await engine.route())  # ours ask for the key again
        await worker.report(state=state, num_requests_recieved=0)
        assert holds(new, await engine.route())


async def test_after_a_rotation_of_the_ticket_secret_old_tickets_keys_go_on_and_new_workers_get_new_ones() -> None:
    async with a_fleet() as (engine, fleet):
        old = await fleet.join()
        _, rotated = await engine.post("/api/v0/keys/rotate/", {"kind": "ticket"}, headers=ACCOUNT)
        assert rotated["generation"] == 2
        assert old.is_ours(await engine.route())
        await old.report(state="draining")
        new = await fleet.join()
        assert new.is_ours(await engine.route())
        assert new.ticket_key is not None
        assert new.ticket_key.id.startswith("2-")


async def test_a_worker_goes_on_reporting_to_an_engine_that_was_started_again_and_numbers_go_on(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        async with an_engine(tmp_path / "data") as engine:
            worker = await stack.enter_async_context(ReportingWorker(engine, await engine.token(), 1))
            await worker.report()
            before = await engine.route()
        async with an_engine(tmp_path / "data") as engine:
            worker.engine = engine
            assert (await worker.report())[0] == 200
            after = await engine.route()
            assert worker.is_ours(after)
    assert after["request_idx"] > before["request_idx"]
    assert after["reqnum"] > before["reqnum"]


@pytest.mark.parametrize("whose", ["account", "endpoint"])
async def test_a_request_that_is_held_is_let_go_when_its_key_is_revoked_and_gets_no_worker(whose: str) -> None:
    async with a_fleet() as (engine, fleet):
        _, shown = await engine.get("/api/v0/endptjobs/1/", headers=ACCOUNT)
        _, made = await engine.post("/api/v0/keys/", {"name": "ci"}, headers=ACCOUNT)
        key = made["api_key"] if whose == "account" else shown["result"]["api_key"]
        asked = {"endpoint": "default", "cost": 1, "wait": 600}
        revoked = asyncio.create_task(engine.post("/route/", {**asked, "api_key": key}))
        held = asyncio.create_task(engine.post("/route/", {**asked, "api_key": API_KEY}))
        while not await waiting(engine, 2):
            await asyncio.sleep(0.01)
        if whose == "account":
            async with engine.http.delete(f"{engine.url}/api/v0/keys/{made['id']}/", headers=ACCOUNT):
                pass
        else:
            await engine.post("/api/v0/endptjobs/1/key/", {}, headers=ACCOUNT)
        assert (await revoked)[0] == 401
        assert await waiting(engine, 1)
        await fleet.join()
        status, answer = await held
        assert (status, "url" in answer) == (200, True)


async def waiting(engine: EngineUnderTest, count: int) -> bool:
    _, state = await engine.get("/state", headers=ACCOUNT)
    return state["endpoints"][0]["load"]["waiting_requests"] == count
