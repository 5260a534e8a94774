"""What a worker said before it was started anew is not believed afterwards: each start has its own mtoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from pyworker.engine.app import RunningEngine, running_engine
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.core.workers import Worker
from pyworker.engine.engine import EngineConfig
from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState
from tests.support.engines import API_KEY, EngineUnderTest, a_folder


@dataclass
class Instances:
    """A provider without processes: what it was told, and what runs. Instances end only when ``may_end`` is set."""

    environments: dict[int, dict[str, str]] = field(default_factory=dict[int, "dict[str, str]"])
    running: set[int] = field(default_factory=set[int])
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def create(self, spec: InstanceSpec) -> None:
        self.environments[spec.id] = dict(spec.environment)
        self.running.add(spec.id)

    async def start(self, instance_id: int, environment: Mapping[str, str] | None = None) -> None:
        self.environments[instance_id] |= environment or {}
        self.running.add(instance_id)

    async def stop(self, instance_id: int) -> None:
        if instance_id in self.running:
            await self.may_end.wait()
        self.running.discard(instance_id)

    async def destroy(self, instance_id: int) -> None:
        self.running.discard(instance_id)
        self.environments.pop(instance_id, None)

    async def list(self) -> Sequence[Instance]:
        return [
            Instance(number, InstanceState.RUNNING if number in self.running else InstanceState.STOPPED)
            for number in self.environments
        ]

    async def logs(self, instance_id: int, tail: int = 50) -> dict[str, list[str]]:  # noqa: ARG002
        return {}

    async def close(self) -> None:
        self.may_end.set()


@dataclass
class World:
    """An engine with one worker, and who reports as that worker."""

    running: RunningEngine
    http: aiohttp.ClientSession
    instances: Instances

    @property
    def worker(self) -> Worker:
        (worker,) = self.running.engine.registry.all_workers
        return worker

    @property
    def mtoken(self) -> str:
        """What the newest start of the worker was given."""
        return self.instances.environments[self.worker.number]["MASTER_TOKEN"]

    async def report(self, mtoken: str) -> int:
        """Ready, with the mtoken of some start; the answer's status."""
        body = {
            "id": self.worker.number,
            "mtoken": mtoken,
            "url": "http://127.0.0.1:9",
            "state": "ready",
            "max_perf": 100.0,
        }
        return (await EngineUnderTest(self.running.url, self.http).post("/worker_status/", body))[0]

    async def until_started_with_another_than(self, mtoken: str) -> None:
        while self.mtoken == mtoken:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def a_world(folder: Path, instances: Instances) -> AsyncGenerator[World]:
    parameters = EndpointParameters(min_load=1.0, cold_workers=1, max_workers=1, cold_mult=1.0)
    group = GroupParameters(name="group", provider="local", launch=Launch(worker=("true",)), test_workers=1)
    config = EngineConfig(API_KEY, port=0)
    async with (
        running_engine(config, folder, {"local": instances}) as running,
        aiohttp.ClientSession() as http,
    ):
        await running.management.deploy(Deployment(name="default", parameters=parameters, groups=(group,)))
        while not instances.running:
            await asyncio.sleep(0.01)
        yield World(running, http, instances)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    return await asyncio.to_thread(a_folder, tmp_path)


async def test_a_late_report_of_a_stopped_worker_does_not_make_it_ready_when_it_is_started(folder: Path) -> None:
    instances = Instances()
    async with a_world(folder, instances) as world:
        before, number = world.mtoken, world.worker.number
        assert await world.report(before) == 200
        assert world.worker.is_ready
        await world.running.engine.records.change_endpoint(world.worker.endpoint, state="stopped")
        instances.may_end.set()
        world.running.scaler.nudge()
        while world.worker.state != "STOPPED":
            await asyncio.sleep(0.01)
        await world.running.engine.records.change_endpoint(world.worker.endpoint, state="active")
        world.running.scaler.nudge()
        await world.until_started_with_another_than(before)
        assert await world.report(before) == 401
        assert (world.worker.state, world.worker.is_ready, world.worker.url) == ("STARTING", False, "")
        assert await world.report(world.mtoken) == 200
        assert world.worker.is_ready
        assert world.worker.number == number


async def test_a_report_from_before_an_update_does_not_make_the_updated_worker_ready(folder: Path) -> None:
    instances = Instances()
    instances.may_end.set()
    async with a_world(folder, instances) as world:
        before = world.mtoken
        assert await world.report(before) == 200
        world.worker.since_s -= 3600.0  # it has been ready for long enough to be updated
        await world.running.management.update_group(world.worker.group)
        await world.until_started_with_another_than(before)
        assert await world.report(before) == 401
        assert not world.worker.is_ready


async def test_while_what_hangs_is_being_ended_to_be_started_anew_its_reports_do_not_count(folder: Path) -> None:
    instances = Instances()
    async with a_world(folder, instances) as world:
        before = world.mtoken
        assert await world.report(before) == 200
        world.running.management.start_worker(world.worker)
        assert await world.report(before) == 401
        assert (world.worker.state, world.worker.is_ready) == ("STARTING", False)
        instances.may_end.set()
        await world.until_started_with_another_than(before)
        assert await world.report(before) == 401


async def test_an_engine_that_comes_after_knows_the_newest_start_and_no_other(folder: Path) -> None:
    instances = Instances()
    async with a_world(folder, instances) as world:
        before = world.mtoken
        instances.may_end.set()
        world.running.management.start_worker(world.worker)
        await world.until_started_with_another_than(before)
        newest, number = world.mtoken, world.worker.number
        assert await world.report(newest) == 200
        instances.may_end.clear()  # as if the engine were killed: what runs goes on
        world.running.engine.records.note(world.worker, "active")
    instances.running.add(number)
    async with a_world(folder, instances) as world:
        assert world.worker.number == number
        assert await world.report(before) == 401
        assert await world.report(newest) == 200
        assert world.worker.is_ready


async def test_once_the_ticket_secret_was_rotated_a_start_brings_keys_of_the_new_one(folder: Path) -> None:
    instances = Instances()
    instances.may_end.set()
    async with a_world(folder, instances) as world:
        before = dict(instances.environments[world.worker.number])
        world.running.management.start_worker(world.worker)
        await world.until_started_with_another_than(before["MASTER_TOKEN"])
        between = dict(instances.environments[world.worker.number])
        assert between["PYWORKER_TICKET_KEY_ID"] == before["PYWORKER_TICKET_KEY_ID"]  # tickets on their way stay good
        await world.running.management.rotate("ticket")
        world.running.management.start_worker(world.worker)
        await world.until_started_with_another_than(between["MASTER_TOKEN"])
        after = instances.environments[world.worker.number]
        assert after["PYWORKER_TICKET_KEY_ID"].startswith("2-")
        assert await world.report(after["MASTER_TOKEN"]) == 200
