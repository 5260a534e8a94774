"""A worker with a lifecycle is ready once that is entered, and never when it has failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from pyworker import BenchmarkConfig, HandlerConfig, LogActionConfig
from pyworker.testing import FakeModel
from pyworker.worker import warm_up
from pyworker.worker.core.readiness import State
from tests.support.workers.rig import a_declared_worker, until

ON_LOAD = LogActionConfig(on_load=["loaded"], on_error=["broken"], on_info=["Info"])
GENERATE = HandlerConfig(route="/g", benchmark_config=BenchmarkConfig(dataset=[{"a": 1}], runs=1, concurrency=1))


@pytest.mark.parametrize("error", [RuntimeError("no weights"), SystemExit(3)], ids=["raises", "exits"])
async def test_neither_probe_nor_log_ends_the_failure_of_a_lifecycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    monkeypatch.setattr(warm_up, "FIRST_PAUSE_S", 0.01)

    @contextlib.asynccontextmanager
    async def fail() -> AsyncGenerator[None]:
        await asyncio.sleep(0)
        raise error
        yield

    caplog.set_level("INFO")
    log = tmp_path / "model.log"
    log.touch()
    given: dict[str, Any] = {"lifecycle": fail, "log_action_config": ON_LOAD, "model_log_file": str(log)}
    async with a_declared_worker(tmp_path, GENERATE, wait=False, **given) as rig:
        readiness = rig.runtime.readiness
        await until(lambda: readiness.state is State.ERRORED, "the lifecycle has failed")
        with log.open("a") as lines:
            lines.write("loaded\nInfo\n")
        await until(lambda: "model: Info" in caplog.text, "the log was read")
        assert readiness.state is State.ERRORED
        assert readiness.error.startswith(f"lifecycle: {type(error).__name__}")
        assert "restart" in readiness.waiting_for
        assert not rig.model.requests


async def test_a_log_does_not_stand_for_a_lifecycle(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def load() -> AsyncGenerator[None]:
        await go_on.wait()
        yield

    log = tmp_path / "model.log"
    log.touch()
    given: dict[str, Any] = {"lifecycle": load, "log_action_config": ON_LOAD, "model_log_file": str(log)}
    async with FakeModel() as model, a_declared_worker(tmp_path, GENERATE, model=model, wait=False, **given) as rig:
        with log.open("a") as lines:
            lines.write("loaded\nbroken\n")
        await until(lambda: rig.runtime.readiness.state is State.ERRORED, "the log was read")
        assert not model.requests
        go_on.set()
        await rig.ready()
