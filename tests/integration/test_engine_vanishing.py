"""Whoever manages an engine vanishes in the middle of a call: what is stored is what the engine goes on with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yarl

from pyworker.engine.app import RunningEngine, running_engine
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.workers import Worker
from pyworker.engine.engine import Engine, EngineConfig
from pyworker.engine.management import Management
from pyworker.wire import TokenRequest
from tests.support.engines import API_KEY, a_folder
from tests.support.interrupting import Interruption, cancel, cancel_as_it_goes_on
from tests.support.raw_client import connected

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(60)]

MOST_SUSPENSIONS = 50


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningEngine]:
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with running_engine(EngineConfig(API_KEY, port=0), folder) as running:
        yield running


def known_to(engine: Engine) -> dict[str, Any]:
    """All that an engine must not forget, as it knows it."""
    registry = engine.registry
    endpoints = sorted(registry.all_endpoints, key=lambda one: one.id)
    return {
        "endpoints": [
            (one.id, one.name, one.parameters, one.generation, one.stopped, one.deleted) for one in endpoints
        ],
        "groups": {one.id: (one.parameters, one.version, one.before, one.deleted) for one in registry.all_groups},
        "tokens": {hashed: worker.number for hashed, worker in vars(registry)["_by_token"].items()},
        "leaving": sorted(worker.number for worker in registry.all_workers if worker.state == "DESTROYING"),
        "keys": vars(engine.keys)["_accounts"],
        "rsa": engine.signer.generation,
    }


async def settled(engine: Engine) -> None:
    """Until nothing is under way, and what was noted is stored."""
    await engine.changes.close()
    await engine.records.store_noted()


async def nothing_differs(engine: Engine) -> None:
    """An engine that started now would know what this one does."""
    while True:
        await settled(engine)
        known = known_to(engine)
        after = Engine(engine.config, engine.store, engine.identity)
        await asyncio.to_thread(after.load)
        await after.close()
        await settled(engine)
        if known_to(engine) == known:  # nothing came in between
            break
    assert known == known_to(after)


# --- at each await --------------------------------------------------------------------------------

Doing = Callable[[Management], Coroutine[Any, Any, object]]
Preparing = Callable[[RunningEngine, int], Awaitable[Doing]]


async def an_endpoint(running: RunningEngine, at: int) -> Endpoint:
    return await running.management.create_endpoint({"endpoint_name": f"endpoint-{at}"})


async def a_worker(running: RunningEngine, at: int) -> Worker:
    endpoint = await an_endpoint(running, at)
    await running.management.issue_token(TokenRequest(endpoint.name))
    (worker,) = running.engine.registry.members(endpoint)
    return worker


async def a_group(running: RunningEngine, at: int) -> Group:
    return (await a_worker(running, at)).group


async def an_update(running: RunningEngine, at: int) -> Group:
    group = await a_group(running, at)
    await running.management.update_group(group)
    return group


async def create_endpoint(_: RunningEngine, at: int) -> Doing:
    return lambda told: told.create_endpoint({"endpoint_name": f"new-{at}", "endpoint_state": "stopped"})


async def change_endpoint(running: RunningEngine, at: int) -> Doing:
    endpoint = await an_endpoint(running, at)
    return lambda told: told.change_endpoint(endpoint, {"max_workers": 7, "endpoint_state": "stopped"})


async def revoke_endpoint_key(running: RunningEngine, at: int) -> Doing:
    endpoint = await an_endpoint(running, at)
    return lambda told: told.revoke_endpoint_key(endpoint)


async def delete_endpoint(running: RunningEngine, at: int) -> Doing:
    endpoint = (await a_worker(running, at)).endpoint
    return lambda told: told.delete_endpoint(endpoint)


async def create_group(running: RunningEngine, at: int) -> Doing:
    endpoint = await an_endpoint(running, at)
    return lambda told: told.create_group({"endpoint_id": endpoint.id, "name": "mine"})


async def change_group(running: RunningEngine, at: int) -> Doing:
    group = await a_group(running, at)
    return lambda told: told.change_group(group, {"max_workers": 3})


async def update_group(running: RunningEngine, at: int) -> Doing:
    group = await a_group(running, at)
    return lambda told: told.update_group(group)


async def cancel_update(running: RunningEngine, at: int) -> Doing:
    group = await an_update(running, at)
    return lambda told: told.cancel_update(group)


async def delete_group(running: RunningEngine, at: int) -> Doing:
    group = await a_group(running, at)
    return lambda told: told.delete_group(group)


async def issue_token(running: RunningEngine, at: int) -> Doing:
    endpoint = await an_endpoint(running, at)
    return lambda told: told.issue_token(TokenRequest(endpoint.name))


async def remove_worker(running: RunningEngine, at: int) -> Doing:
    worker = await a_worker(running, at)
    return lambda told: told.remove_worker(worker)


async def create_key(_: RunningEngine, at: int) -> Doing:
    return lambda told: told.create_key(f"key-{at}")


async def revoke_key(running: RunningEngine, at: int) -> Doing:
    row, _ = await running.management.create_key(f"key-{at}")
    return lambda told: told.revoke_key(row.id)


async def rotate(_running: RunningEngine, _at: int) -> Doing:
    return lambda told: told.rotate("rsa")


ALL: list[Preparing] = [
    create_endpoint,
    change_endpoint,
    revoke_endpoint_key,
    delete_endpoint,
    create_group,
    change_group,
    update_group,
    cancel_update,
    delete_group,
    issue_token,
    remove_worker,
    create_key,
    revoke_key,
    rotate,
]


@pytest.mark.parametrize("happen", [cancel, cancel_as_it_goes_on])
@pytest.mark.parametrize("prepare", ALL)
async def test_a_call_that_is_cut_off_at_any_await_leaves_store_and_memory_the_same(
    running: RunningEngine, prepare: Preparing, happen: Callable[[Any], None]
) -> None:
    for at in range(1, MOST_SUSPENSIONS):
        do = await prepare(running, at)
        interruption = Interruption(at, happen)
        cut_off = asyncio.create_task(_driven(interruption, do(running.management)))
        await asyncio.wait([cut_off])
        assert cut_off.cancelled() or not interruption.happened or happen is cancel_as_it_goes_on
        await nothing_differs(running.engine)
        if not interruption.happened:
            return
    raise AssertionError("not through")


async def _driven(interruption: Interruption, call: Coroutine[Any, Any, object]) -> None:
    await interruption.run(call)


async def test_lines_of_a_log_are_stored_once_when_who_reads_it_is_cut_off(running: RunningEngine) -> None:
    endpoint = await an_endpoint(running, 0)
    for at in range(1, MOST_SUSPENSIONS):
        running.engine.journal.note(endpoint, f"line {at}.")
        interruption = Interruption(at, cancel)
        await asyncio.wait([asyncio.create_task(_driven(interruption, running.engine.journal.tail(endpoint, 10)))])
        await settled(running.engine)
        assert (await running.engine.journal.tail(endpoint, 100))["info0"].count(f"line {at}.") == 1
        if not interruption.happened:
            return
    raise AssertionError("not through")


# --- over a socket --------------------------------------------------------------------------------


async def vanish(running: RunningEngine, method: str, path: str, turns: int) -> None:
    """Send a call and close the connection after so many turns of the event loop."""
    port = yarl.URL(running.url).port
    assert port is not None
    async with connected(port) as client:
        await client.send(f"{method} {path} HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {API_KEY}\r\n\r\n")
        for _ in range(turns):
            await asyncio.sleep(0)
        client.leave()


@pytest.mark.parametrize("turns", range(0, 24, 3))
async def test_a_key_opens_nothing_once_it_is_listed_as_revoked_though_whoever_revoked_it_has_gone(
    running: RunningEngine, turns: int
) -> None:
    management, engine = running.management, running.engine
    for _ in range(5):
        row, key = await management.create_key("brief")
        await vanish(running, "DELETE", f"/api/v0/keys/{row.id}/", turns)
        (listed,) = [one for one in await management.list_keys() if one.id == row.id]
        await settled(engine)
        assert not (listed.revoked_epoch_s and engine.keys.opens_account(key))
        await nothing_differs(engine)


@pytest.mark.parametrize("turns", range(0, 24, 3))
async def test_an_endpoint_that_somebody_deleted_who_has_gone_is_there_or_is_not(
    running: RunningEngine, turns: int
) -> None:
    for number in range(5):
        endpoint = await an_endpoint(running, number)
        await vanish(running, "DELETE", f"/api/v0/endptjobs/{endpoint.id}/", turns)
        await nothing_differs(running.engine)
        if not endpoint.deleted:
            await running.management.delete_endpoint(endpoint)
