"""An engine that starts and stops real workers on this machine, by what is asked of it."""

# ruff: noqa: ASYNC110 - what is waited for are processes and their states

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.client import Client
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.parameters import Resources
from pyworker.engine.providers.base import Instance
from pyworker.engine.providers.local import LocalProvider
from pyworker.errors import WorkerUnreachable
from pyworker.testing import free_port
from tests.support.commands import PYWORKER, running
from tests.support.engines import API_KEY, a_folder
from tests.support.instances import pids, runs
from tests.support.scaled_engine import SCALED, World, a_world, ask, deployment

pytestmark = pytest.mark.limit_s(90)

DEPLOYMENT = f"""
[endpoint]
name = "default"
min_load = 10
cold_workers = 0
max_workers = 1

[[workergroup]]
provider = "local"
worker = "{SCALED}"
test_workers = 1

[workergroup.model]
command = ["{{python}}", "{SCALED / "model.py"}", "{{model_port}}"]
"""


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncGenerator[Path]:
    """A data directory, of which nothing runs in the end."""
    made = await asyncio.to_thread(a_folder, tmp_path)
    yield made
    await LocalProvider(made / "workers").close()


async def test_an_endpoint_at_zero_starts_a_worker_for_the_first_request_and_goes_back_to_zero(folder: Path) -> None:
    async with a_world(deployment(cold_workers=1), folder) as world:
        await world.until("STOPPED")  # it was measured once, and waits
        assert (await world.ask())["tokens"] == 1
        assert world.states() == ["IDLE"]
        await world.until("STOPPED")
        log = await world.log()
        assert "start worker" in log
        assert "stop worker" in log


async def test_more_is_asked_for_than_one_worker_can_do_and_others_come(folder: Path) -> None:
    async with a_world(deployment(min_load=10.0, target_queue_time=1.0, max_queue_time=3.0), folder) as world:
        await world.until("IDLE")
        asked = [asyncio.create_task(world.ask(100)) for _ in range(20)]  # 2000 tokens at 100/s a worker
        while world.states().count("IDLE") < 3:
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*asked)
        assert len({answer["by"] for answer in answers}) > 1
        await world.until("IDLE")  # the others are let go: neither load nor cold_mult asks for them


async def test_a_worker_that_crashes_in_a_loop_is_given_up_with_the_reason(folder: Path) -> None:
    described = deployment(min_load=10.0, environment={"CRASHES": "yes"})
    async with a_world(described, folder) as world:
        group = world.running.engine.registry.groups()[0]
        while "given up" not in group.condition:
            await asyncio.sleep(0.05)
        assert "no such model" in group.condition


async def test_a_worker_that_cannot_be_made_is_given_up_with_the_reason_and_not_made_for_ever(folder: Path) -> None:
    described = deployment(min_load=10.0, resources=Resources(gpus=1))
    providers = {"local": LocalProvider(folder / "workers", gpus=lambda: ())}
    async with a_world(described, folder, providers) as world:
        group = world.running.engine.registry.groups()[0]
        while "given up" not in group.condition:
            await asyncio.sleep(0.05)
        assert "GPU" in group.condition
        assert max((worker.number for worker in world.running.engine.registry.all_workers), default=0) <= 5


async def test_a_worker_that_is_killed_is_replaced_and_its_request_fails_over_or_clearly(folder: Path) -> None:
    async with a_world(deployment(min_load=150.0, cold_mult=1.0), folder) as world:
        await world.until("IDLE", "IDLE")
        asked = [asyncio.create_task(world.ask(30)) for _ in range(6)]
        await asyncio.wait(asked, timeout=0.2)
        victim = pids(folder / "workers", 1)
        os.kill(victim["worker"], signal.SIGKILL)
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(result, dict | WorkerUnreachable | AssertionError) for result in results)
        assert any(isinstance(result, dict) for result in results)
        assert (await world.ask())["tokens"] == 1
        await world.until("IDLE", "IDLE")
        assert not any(map(runs, victim.values()))


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """``pyworker up`` with the deployment, but for its port."""
    monkeypatch.setenv("PYWORKER_API_KEY", API_KEY)
    described = folder.parent / "deployment.toml"
    described.write_text(DEPLOYMENT)
    return (*PYWORKER, "up", str(described), "--data-dir", str(folder), "--json", "--port")


async def killed_after_a_request(*up: str) -> str:
    """Run an engine and kill it; its workers go on. Its url."""
    async with running(*up) as engine:
        url = json.loads(await engine.line())["url"]
        async with Client(url, API_KEY, timeout_s=60) as client:
            assert await ask(client, 1)
        engine.signal(signal.SIGKILL)
        await engine.ended()
    return url


async def test_an_engine_that_comes_after_one_that_was_killed_adopts_its_workers(
    folder: Path, command: tuple[str, ...]
) -> None:
    up = (*command, str(free_port()))
    await killed_after_a_request(*up)
    before = pids(folder / "workers", 1)
    assert all(map(runs, before.values()))
    async with running(*up) as second:
        url = json.loads(await second.line())["url"]
        async with Client(url, API_KEY, timeout_s=60) as client:
            assert await ask(client, 1)
        assert pids(folder / "workers", 1) == before
        second.signal(signal.SIGTERM)
        assert (await second.ended()).status == 0
    assert not any(map(runs, before.values()))


async def test_an_engine_that_comes_after_one_at_another_port_starts_its_workers_anew_and_says_why(
    command: tuple[str, ...],
) -> None:
    before = await killed_after_a_request(*command, str(free_port()))
    async with running(*command, str(free_port())) as second, aiohttp.ClientSession() as http:
        url = json.loads(await second.line())["url"]
        async with Client(url, API_KEY, timeout_s=60) as client:
            assert await ask(client, 1)
        body = {"id": 1, "tail": 100, "api_key": API_KEY}
        async with http.post(f"{url}/get_endpoint_logs/", json=body) as response:
            said = (await response.json())["info0"]
        assert f"worker 1 is started anew: it reports to {before}, where this engine is not" in said
        second.signal(signal.SIGTERM)
        assert (await second.ended()).status == 0


async def test_a_worker_that_was_removed_while_its_provider_was_looked_at_is_not_looked_for(folder: Path) -> None:
    class Slow(LocalProvider):
        """Looks at what there is, and says so when it is told to."""

        looked, say = asyncio.Event(), asyncio.Event()

        async def list(self) -> Sequence[Instance]:
            seen = await super().list()
            self.looked.set()
            await self.say.wait()
            return seen

    Slow.say.set()
    async with a_world(deployment(min_load=10.0), folder, {"local": Slow(folder / "workers")}) as world:
        await world.until("IDLE")
        registry = world.running.engine.registry
        (worker,) = registry.all_workers
        Slow.looked.clear()
        Slow.say.clear()
        await Slow.looked.wait()
        await world.running.management.remove_worker(worker)
        while registry.worker_by_number(worker.number):
            await asyncio.sleep(0.01)
        worker.since_s -= 2.0  # it was a slow look
        Slow.say.set()
        await world.until("IDLE")
        assert "was DESTROYING" not in await world.log()


# --- rolling update ---


def version(number: int, **environment: str) -> Deployment:
    return deployment(min_load=150.0, environment={"VERSION": str(number), **environment})


async def keep_asking(world: World, answers: list[dict[str, Any]]) -> None:
    while True:
        answers.append(await world.ask())
        await asyncio.sleep(0.05)  # more than two workers can do would keep each of them from being updated


async def test_an_update_replaces_all_workers_without_a_lost_request(folder: Path) -> None:
    async with a_world(version(1), folder) as world:
        await world.until("IDLE", "IDLE")
        answers: list[dict[str, Any]] = []
        asking = [asyncio.create_task(keep_asking(world, answers)) for _ in range(3)]
        await world.running.management.deploy(version(2))
        group = world.running.engine.registry.groups()[0]
        while group.before is not None and not any(task.done() for task in asking):
            await asyncio.sleep(0.05)
        assert {worker.version for worker in world.running.engine.registry.members(group)} == {group.version}
        for task in asking:
            assert not task.done(), task.exception()
            task.cancel()
        await asyncio.wait(asking)
        assert (await world.ask())["as"] == "2"
        assert {answer["as"] for answer in answers} == {"1", "2"}
        assert "is complete" in await world.log()


async def test_an_update_whose_workers_do_not_become_ready_goes_back_to_the_version_before(folder: Path) -> None:
    async with a_world(version(1), folder) as world:
        await world.until("IDLE", "IDLE")
        answers: list[dict[str, Any]] = []
        asking = asyncio.create_task(keep_asking(world, answers))
        await world.running.management.deploy(version(2, CRASHES="yes"))
        group = world.running.engine.registry.groups()[0]
        while group.before is not None:
            await asyncio.sleep(0.05)
        await world.until("IDLE", "IDLE")
        assert not asking.done()
        asking.cancel()
        await asyncio.wait([asking])
        assert {answer["as"] for answer in answers} == {"1"}
        assert "rolled back" in await world.log()
        assert "no such model" in await world.log()


# --- the engine is killed under load ---


async def test_no_request_of_our_client_is_lost_when_the_engine_is_killed_and_started_again(
    command: tuple[str, ...],
) -> None:
    up = (*command, str(free_port()))
    async with running(*up) as first:
        url = json.loads(await first.line())["url"]
        async with Client(url, API_KEY, timeout_s=60) as client:
            indexes = [await index_of(client)]
            asking = [asyncio.create_task(ask_many(client, indexes, 30)) for _ in range(4)]
            while len(indexes) < 20:
                await asyncio.sleep(0.01)
            first.signal(signal.SIGKILL)
            await first.ended()
            async with running(*up) as second:
                await second.line()
                await asyncio.gather(*asking)
                assert len(indexes) == len(set(indexes)) == 1 + 4 * 30  # none was given twice
                second.signal(signal.SIGTERM)
                await second.ended()


async def ask_many(client: Client, indexes: list[int], count: int) -> None:
    for _ in range(count):
        indexes.append(await index_of(client))  # noqa: PERF401 - as they come


async def index_of(client: Client) -> int:
    async with client.call("default", "/generate", {"tokens": 1}, cost=1.0) as answer:
        assert answer.status == 200, await answer.read()
        await answer.read()
        return answer.request_idx


# --- on purpose ---


async def test_an_endpoint_that_is_deleted_takes_its_workers_with_it(folder: Path) -> None:
    async with a_world(deployment(min_load=10.0), folder) as world:
        await world.until("IDLE")
        processes = pids(folder / "workers", 1)
        registry = world.running.engine.registry
        endpoint = registry.endpoint("default")
        await world.running.management.delete_endpoint(endpoint)
        assert registry.endpoints == []
        while registry.all_endpoints:
            await asyncio.sleep(0.02)
        assert not any(map(runs, processes.values()))
        assert not (folder / "workers" / "1").exists()
        await world.running.management.deploy(deployment(min_load=10.0))  # its name is free again
        await world.until("IDLE")


async def test_an_endpoint_that_is_stopped_lets_its_workers_rest_and_goes_on_when_it_is_active(folder: Path) -> None:
    async with a_world(deployment(min_load=10.0), folder) as world:
        await world.until("IDLE")
        management, registry = world.running.management, world.running.engine.registry
        await management.change_endpoint(registry.endpoint("default"), {"endpoint_state": "stopped"})
        await world.until("STOPPED")
        await management.change_endpoint(registry.endpoint("default"), {"endpoint_state": "active"})
        await world.until("IDLE")
        assert (await world.ask())["tokens"] == 1


async def test_two_updates_in_a_row_that_do_not_become_ready_go_back_to_what_worked(folder: Path) -> None:
    async with a_world(version(1), folder) as world:
        await world.until("IDLE", "IDLE")
        await world.running.management.deploy(version(2, CRASHES="yes"))
        await world.running.management.deploy(version(3, CRASHES="yes"))
        group = world.running.engine.registry.groups()[0]
        while group.before is not None:
            assert world.states().count("IDLE") == 2
            await asyncio.sleep(0.05)
        assert (await world.ask())["as"] == "1"


async def test_an_open_session_is_not_broken_by_an_update(folder: Path) -> None:
    async with a_world(version(1), folder) as world, aiohttp.ClientSession() as http:
        await world.until("IDLE", "IDLE")
        asked = {"endpoint": "default", "api_key": API_KEY, "cost": 1}
        async with http.post(f"{world.running.url}/route/", json=asked) as routed:
            auth = await routed.json()
        async with http.post(f"{auth['url']}/session/create", json={"auth_data": auth, "payload": {}}) as created:
            session = (await created.json())["session_id"]
        await world.running.management.deploy(version(2))
        its_worker = next(w for w in world.running.engine.registry.all_workers if w.url == auth["url"])
        while its_worker.state not in {"UPDATE_REBOOTING", "STOPPING"}:  # whichever way it is told to drain
            await asyncio.sleep(0.02)
        envelope = {"auth_data": auth, "payload": {"tokens": 1}, "session_id": session}
        async with http.post(f"{auth['url']}/generate", json=envelope) as answered:
            assert (answered.status, (await answered.json())["as"]) == (200, "1")
        query = {"session_id": session, "session_auth": auth}
        async with http.post(f"{auth['url']}/session/end", json=query) as ended:
            assert ended.status == 200
        while world.running.engine.registry.groups()[0].before is not None:
            await asyncio.sleep(0.05)
        assert (await world.ask())["as"] == "2"
