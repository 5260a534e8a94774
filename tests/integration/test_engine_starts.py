"""What a worker said before it was started anew is not believed afterwards: each start has its own mtoken."""

# ruff: noqa: ASYNC110 - what is waited for is what an engine does by itself
from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.engines import a_folder
from tests.support.no_processes import Instances, a_world


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
