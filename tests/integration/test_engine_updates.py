"""An update that cannot go on says so where people look: once in the endpoint's log, and in its group's condition."""

# ruff: noqa: ASYNC110 - what is waited for is what an engine does by itself
from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.engines import a_folder
from tests.support.no_processes import Instances, a_world


async def test_an_update_that_waits_says_so_once_in_the_log_and_for_as_long_as_it_does_of_its_group(
    tmp_path: Path,
) -> None:
    instances = Instances()
    folder = await asyncio.to_thread(a_folder, tmp_path)
    async with a_world(folder, instances, min_load=150.0, max_workers=2) as world:
        engine, scaler = world.running.engine, world.running.scaler
        (endpoint,), (group,) = engine.registry.endpoints, engine.registry.groups()
        while len(instances.running) < 2:
            for number in list(instances.running):
                await world.report(instances.environments[number]["MASTER_TOKEN"], number)
            await asyncio.sleep(0.01)
        for worker in engine.registry.members(group):
            await world.report(instances.environments[worker.number]["MASTER_TOKEN"], worker.number)
            worker.since_s -= 3600.0
        await world.running.management.update_group(group)
        waits = "the load needs every active worker and there is no room for another (max_workers is 2)"
        while waits not in group.condition:
            await asyncio.sleep(0.01)
        for _ in range(3):
            await scaler.step()
        assert group.condition.startswith("updating to version 2: 0 of 2 have it; version 2 is tried")
        told = (await engine.journal.tail(endpoint, 100))["info1"]
        assert told.count(waits) == 1
        assert "update of group version 2 is tried with one worker first: waits for " in told
        instances.may_end.set()
