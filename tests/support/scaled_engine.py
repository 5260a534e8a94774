"""An engine whose workers are real processes that answer quickly, and a client that asks it."""

# ruff: noqa: ASYNC110 - what is waited for are the states of processes
from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pyworker.client import Client
from pyworker.engine.app import RunningEngine
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch, Resources
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.engine import EngineConfig
from pyworker.engine.providers.base import Provider
from pyworker.engine.up import providers_in, running_deployment
from tests.support.engines import API_KEY

SCALED = Path(__file__).parent / "workers" / "scaled"
QUICK = Tempo(
    stable_s=3.0,
    burst_s=1.0,
    settled_s=1.0,
    cold_s=4.0,
    retry_first_s=0.1,
    retry_longest_s=0.3,
    given_up_s=60.0,
    healthy_s=2.0,
    canary_s=0.5,
)


def launch(resources: Resources | None = None, **environment: str) -> Launch:
    """A worker that passes requests through to a model that takes its time, by its environment."""
    return Launch(
        worker=("{python}", "-m", "pyworker.cli", "run", str(SCALED)),
        model=("{python}", str(SCALED / "model.py"), "{model_port}"),
        environment=environment,
        resources=resources or Resources(),
    )


def deployment(
    *,
    groups: int = 1,
    environment: dict[str, str] | None = None,
    provider: str = "local",
    resources: Resources | None = None,
    **parameters: Any,
) -> Deployment:
    """The endpoint ``default``, from zero to three workers."""
    told = {"min_load": 0.0, "cold_workers": 0, "max_workers": 3, "cold_mult": 1.0, **parameters}
    made = tuple(
        GroupParameters(
            name=f"group-{number}",
            provider=provider,
            launch=launch(resources, **(environment or {})),
            test_workers=1,
        )
        for number in range(groups)
    )
    return Deployment(name="default", parameters=EndpointParameters(**told), groups=made)


class World:
    """An engine with its deployment, and a client."""

    def __init__(self, running: RunningEngine, client: Client) -> None:
        self.running = running
        self.client = client

    async def ask(self, tokens: int = 1) -> dict[str, Any]:
        """What the worker says of itself, after as long as the tokens take."""
        return await ask(self.client, tokens)

    def states(self) -> list[str]:
        """Of all workers."""
        registry = self.running.engine.registry
        return sorted(worker.state for worker in registry.workers(registry.endpoint("default")))

    async def until(self, *states: str) -> None:
        """Until the workers are in these states, in any order."""
        while self.states() != sorted(states):
            await asyncio.sleep(0.02)

    async def log(self) -> str:
        """What was done and decided."""
        registry = self.running.engine.registry
        tail = await self.running.engine.journal.tail(registry.endpoint("default"), 500)
        return tail["info0"] + "\n" + tail["info1"]


async def ask(client: Client, tokens: int) -> dict[str, Any]:
    """The same with another client."""
    async with client.call("default", "/generate", {"tokens": tokens}, cost=float(tokens)) as answer:
        assert answer.status == 200, await answer.read()
        return await answer.json()


@asynccontextmanager
async def a_world(
    described: Deployment, folder: Path, providers: Mapping[str, Provider] | None = None
) -> AsyncGenerator[World]:
    """For as long as this is entered; workers are on this machine unless there are other providers."""
    config = EngineConfig(API_KEY, port=0)
    async with (
        running_deployment(described, config, folder, providers or providers_in(folder), QUICK) as running,
        Client(running.url, API_KEY, timeout_s=60) as client,
    ):
        yield World(running, client)
