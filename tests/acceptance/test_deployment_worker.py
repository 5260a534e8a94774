"""The command that a deployment gives for a worker, run from somewhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pyworker.engine.deployment import load
from pyworker.testing import FakeModel, WorkerProcess, answer
from tests.support.source import ROOT


async def test_the_examples_worker_runs_from_any_folder(tmp_path: Path) -> None:
    (group,) = (await asyncio.to_thread(load, ROOT / "workers" / "hello_world", {})).groups
    assert group.launch is not None
    python, *args = group.launch.worker
    assert python == "{python}"
    log_path = tmp_path / "model.log"
    async with FakeModel(log_path=log_path, health_path="/healthcheck", default=answer({"response": "a"})) as model:
        model.log("infer server has started")
        place = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log_path), "PYWORKER_STATE_DIR": str(tmp_path)}
        async with WorkerProcess(args, env=place, cwd=tmp_path) as worker:
            await worker.ready()
