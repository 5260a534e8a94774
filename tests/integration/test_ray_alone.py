"""Without an address: a Ray of this machine alone, which ends with the engine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from pyworker.engine.providers.base import Instance, InstanceState
from pyworker.engine.providers.ray import RayProvider
from tests.support.instances import SAYS_ENVIRONMENT, environment_in, pids, python, runs, spec, until_log

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.limit_s(120)


async def test_without_an_address_a_ray_of_its_own_is_started_and_nothing_of_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # not under pytest's own folder: Ray's sockets would have too long a path
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        provider = RayProvider(tmp_path / "engine", folder=str(tmp_path / "nodes"))
        try:
            await provider.create(spec(worker=python(SAYS_ENVIRONMENT)))
            instances = next((tmp_path / "nodes").iterdir())
            worker = environment_in(await until_log(instances / "1/logs/worker.log", "started"))
            assert worker["PUBLIC_IPADDR"] == worker["WORKER_HOST"] == "127.0.0.1"
            assert await provider.list() == [Instance(1, InstanceState.RUNNING)]
            running = pids(instances)
        finally:
            await provider.close()
        assert not any(map(runs, running.values()))
