"""Workers on a cluster: three nodes of Ray on this machine, of which one is lost at the end."""

# ruff: noqa: ASYNC240 - what is looked at are files
from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pyworker.engine.core.parameters import Resources
from pyworker.engine.providers.base import Instance, InstanceState
from pyworker.engine.providers.ray import RayProvider
from pyworker.errors import ProviderError
from tests.support.instances import (
    DRAINING,
    SAYS_ENVIRONMENT,
    SECRET,
    environment_in,
    pids,
    python,
    runs,
    spec,
    until,
    until_gone,
    until_log,
)
from tests.support.ray_nodes import Nodes, three_nodes

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.limit_s(120)

ON_SECOND = Resources(cpus=1, custom={"second": 1})


@pytest.fixture(scope="module")
def nodes() -> Generator[Nodes]:
    with three_nodes() as cluster:
        yield cluster


@asynccontextmanager
async def on_ray(nodes: Nodes, tmp_path: Path) -> AsyncGenerator[RayProvider]:
    provider = RayProvider(tmp_path / "engine", address=nodes.address, folder=str(tmp_path / "nodes"))
    try:
        yield provider
    finally:
        await provider.close()


def instances(tmp_path: Path) -> Path:
    """Where they are; the nodes share this machine's disk."""
    return next((tmp_path / "nodes").iterdir())


async def test_an_instance_is_created_stopped_started_again_and_destroyed(nodes: Nodes, tmp_path: Path) -> None:
    async with on_ray(nodes, tmp_path) as provider:
        assert await provider.list() == []
        await provider.create(spec(worker=python(SAYS_ENVIRONMENT), resources=ON_SECOND))
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]
        folder = instances(tmp_path) / "1"
        worker = environment_in(await until_log(folder / "logs/worker.log", "started"))
        assert worker["MASTER_TOKEN"] == SECRET
        assert worker["PUBLIC_IPADDR"] not in {"", "127.0.0.1"}
        assert not [name for name in worker if name.startswith("RAY_")]
        assert "worker.log" in await provider.logs(1)
        first = pids(folder.parent)
        await provider.stop(1)
        assert await provider.list() == [Instance(1, InstanceState.STOPPED)]
        assert not any(map(runs, first.values()))
        await provider.create(spec(2, resources=ON_SECOND))  # has what the first one had
        await provider.destroy(2)
        await provider.start(1)
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]
        await provider.stop(1)
        await provider.destroy(1)
        assert await provider.list() == []
        assert list(folder.parent.iterdir()) == []
    assert (tmp_path / "engine").stat().st_mode & 0o077 == 0


async def test_a_worker_drains_before_its_actor_ends(nodes: Nodes, tmp_path: Path) -> None:
    async with on_ray(nodes, tmp_path) as provider:
        await provider.create(spec(worker=python(DRAINING)))
        log = instances(tmp_path) / "1/logs/worker.log"
        await until_log(log, "started")
        await provider.stop(1)
        assert "drained" in log.read_text()
        assert await provider.list() == [Instance(1, InstanceState.STOPPED)]


async def test_who_waits_for_resources_is_starting_and_says_for_what(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyworker.engine.providers.ray.FIRST_LOOK_S", 1.0)
    monkeypatch.setattr("pyworker.engine.providers.ray.LOOK_S", 0.2)
    async with on_ray(nodes, tmp_path) as provider:
        await provider.create(spec(1, resources=ON_SECOND))
        await provider.create(spec(2, resources=ON_SECOND))
        await provider.create(spec(3, resources=Resources(cpus=1, gpus=4)))
        found = {instance.id: instance for instance in await provider.list()}
        assert found[2] == Instance(2, InstanceState.STARTING, "waits for 1 second (0 second free in the cluster)")
        assert found[3].state is InstanceState.STARTING
        assert found[3].reason.startswith("no node can hold it: it needs 4 GPU, the most is 0 GPU")
        await provider.stop(3)
        await provider.destroy(1)
        await until(provider, InstanceState.RUNNING, 2)
        assert (await until(provider, InstanceState.STOPPED, 3)).reason == ""


async def test_what_fails_says_why_and_frees_its_resources(nodes: Nodes, tmp_path: Path) -> None:
    async with on_ray(nodes, tmp_path) as provider:
        with pytest.raises(ProviderError, match="the model server's command 'no-such-server' was not found"):
            await provider.create(spec(1, model=("no-such-server",), resources=ON_SECOND))
        fails = "import sys; sys.stdin.close(); sys.exit('no such weights')"
        await provider.create(spec(2, model=python(fails), resources=ON_SECOND))
        failed = await until(provider, InstanceState.FAILED, 2)
        assert failed.reason == "the model server ended with status 1; its last lines: no such weights"
        await provider.create(spec(3, resources=ON_SECOND))
        found = {instance.id: instance.state for instance in await provider.list()}
        assert found == {1: InstanceState.FAILED, 2: InstanceState.FAILED, 3: InstanceState.RUNNING}


async def test_an_engine_that_comes_after_finds_the_actors_of_the_one_before(nodes: Nodes, tmp_path: Path) -> None:
    async with on_ray(nodes, tmp_path) as first:
        await first.create(spec(1))
        await first.create(spec(2))
        second = RayProvider(tmp_path / "engine", address=nodes.address, folder=str(tmp_path / "nodes"))
        assert [instance.state for instance in await second.list()] == [InstanceState.RUNNING] * 2
        running = [*pids(instances(tmp_path), 1).values(), *pids(instances(tmp_path), 2).values()]
        await second.stop(1)
        await second.close()
        assert not any(map(runs, running))
        assert {instance.state for instance in await second.list()} == {InstanceState.STOPPED}
        await second.close()


async def test_an_actor_that_is_killed_takes_its_instance_along(nodes: Nodes, tmp_path: Path) -> None:
    async with on_ray(nodes, tmp_path) as provider:
        await provider.create(spec())
        running = pids(instances(tmp_path))
        actor = int(Path(f"/proc/{running['supervisor']}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(actor, signal.SIGKILL)
        failed = await until(provider, InstanceState.FAILED)
        assert "actor" in failed.reason
        await until_gone(*running.values())
        await provider.start(1)
        assert await provider.list() == [Instance(1, InstanceState.RUNNING)]


NOWHERE = [("127.0.0.1:1", "refused"), ("ray://127.0.0.1:1", "refused"), ("nowhere", "an address is auto")]


@pytest.mark.parametrize(("address", "words"), NOWHERE)
async def test_a_cluster_that_is_not_there_is_named(tmp_path: Path, address: str, words: str) -> None:
    provider = RayProvider(tmp_path / "engine", address=address)
    with pytest.raises(ProviderError, match=rf"no Ray cluster at {address}: start one with `ray start .*{words}"):
        await provider.create(spec())
    await provider.close()


async def test_instances_on_a_node_that_dies_are_lost_and_start_elsewhere(nodes: Nodes, tmp_path: Path) -> None:
    async with on_ray(nodes, tmp_path) as provider:
        await provider.create(spec(1, resources=ON_SECOND))
        await provider.create(spec(2, resources=Resources(cpus=1, custom={"first": 1})))
        await provider.create(spec(3, resources=Resources(cpus=1)))
        await provider.stop(3)
        running = pids(instances(tmp_path), 1)
        await asyncio.to_thread(nodes.lose_the_second)
        lost = await until(provider, InstanceState.LOST, 1)
        assert lost.reason == "its node is gone, and its folder with it"
        await until_gone(*running.values())
        found = {instance.id: instance.state for instance in await provider.list()}
        assert found[2] is InstanceState.RUNNING
        await provider.start(3)
        assert (await until(provider, InstanceState.RUNNING, 3)).reason == ""
        await provider.destroy(1)
        assert [instance.id for instance in await provider.list()] == [2, 3]
