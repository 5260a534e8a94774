"""An engine whose workers are no processes: what their provider was told, and what a test reports for them."""

# ruff: noqa: ASYNC110 - what is waited for is what an engine does by itself
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from pyworker.engine.app import RunningEngine, running_engine
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.core.workers import Worker
from pyworker.engine.engine import EngineConfig
from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState
from tests.support.engines import API_KEY, EngineUnderTest

__all__ = ["Instances", "World", "a_world"]


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
    """An engine with its workers, and who reports as them."""

    running: RunningEngine
    http: aiohttp.ClientSession
    instances: Instances

    @property
    def worker(self) -> Worker:
        """The only one."""
        (worker,) = self.running.engine.registry.all_workers
        return worker

    @property
    def mtoken(self) -> str:
        """What the newest start of the worker was given."""
        return self.instances.environments[self.worker.number]["MASTER_TOKEN"]

    async def report(self, mtoken: str, number: int | None = None) -> int:
        """Ready, with the mtoken of some start; the answer's status."""
        body = {
            "id": number or self.worker.number,
            "mtoken": mtoken,
            "url": "http://127.0.0.1:9",
            "state": "ready",
            "max_perf": 100.0,
        }
        return (await EngineUnderTest(self.running.url, self.http).post("/worker_status/", body))[0]

    async def until_started_with_another_than(self, mtoken: str) -> None:
        """Until the only worker has an mtoken of a later start."""
        while self.mtoken == mtoken:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def a_world(folder: Path, instances: Instances, **parameters: Any) -> AsyncGenerator[World]:
    """With one worker that is to be active, unless ``parameters`` say otherwise."""
    told = {"min_load": 1.0, "cold_workers": 1, "max_workers": 1, "cold_mult": 1.0, **parameters}
    group = GroupParameters(name="group", provider="local", launch=Launch(worker=("true",)), test_workers=1)
    config = EngineConfig(API_KEY, port=0)
    async with (
        running_engine(config, folder, {"local": instances}) as running,
        aiohttp.ClientSession() as http,
    ):
        await running.management.deploy(
            Deployment(name="default", parameters=EndpointParameters(**told), groups=(group,))
        )
        while not instances.running:
            await asyncio.sleep(0.01)
        yield World(running, http, instances)
