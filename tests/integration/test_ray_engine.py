"""An engine whose workers are on a cluster of three nodes, one of which is lost under load."""

# ruff: noqa: ASYNC110 - what is waited for are the states of processes
from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from pyworker.engine.core.parameters import Resources
from pyworker.errors import WorkerUnreachable
from tests.support.engines import a_folder
from tests.support.ray_nodes import Nodes, three_nodes
from tests.support.scaled_engine import World, a_world, deployment

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.limit_s(150)


@pytest.fixture(scope="module")
def nodes() -> Generator[Nodes]:
    with three_nodes() as cluster:
        yield cluster


async def keep_asking(world: World, answered: list[str]) -> None:
    while True:
        try:
            answered.append((await world.ask(5))["by"])
        except WorkerUnreachable:  # its worker died with the request in hand: told clearly, and asked again
            continue


async def test_workers_of_a_node_that_dies_under_load_are_replaced_and_requests_go_on(
    nodes: Nodes, tmp_path: Path
) -> None:
    from pyworker.engine.providers.ray import RayProvider  # noqa: PLC0415 - an extra

    folder = await asyncio.to_thread(a_folder, tmp_path)
    provider = RayProvider(folder / "workers", address=nodes.address, folder=str(tmp_path / "nodes"))
    # two CPUs on each of two nodes: of three workers at least one is on the second, and the first has room for two
    described = deployment(min_load=250.0, provider="ray", resources=Resources(cpus=0.7), cold_mult=1.0)
    async with a_world(described, folder, {"ray": provider}) as world:
        await world.until("IDLE", "IDLE", "IDLE")
        before = {worker.number for worker in world.running.engine.registry.all_workers}
        answered: list[str] = []
        asking = [asyncio.create_task(keep_asking(world, answered)) for _ in range(3)]
        while len(set(answered)) < 2:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(nodes.lose_the_second)
        while "is lost" not in await world.log():
            await asyncio.sleep(0.05)
        while world.states().count("IDLE") != 2:
            await asyncio.sleep(0.05)
        count = len(answered)
        while len(answered) < count + 20:
            await asyncio.sleep(0.05)
        assert not any(task.done() for task in asking)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        now = {worker.number for worker in world.running.engine.registry.all_workers}
        assert 1 <= len(before & now) <= 2
