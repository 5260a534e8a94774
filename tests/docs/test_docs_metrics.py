"""docs/reference/metrics.md against what a worker shows."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp

from pyworker.testing import FakeModel, WorkerProcess
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()


async def test_the_metrics_on_the_page_are_those_of_a_worker(tmp_path: Path) -> None:
    log_path = tmp_path / "model.log"
    async with FakeModel(log_path=log_path, health_path="/healthcheck") as model:
        model.log("infer server has started")
        place = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log_path)}
        async with WorkerProcess(["-m", "workers.hello_world.server"], env=place) as worker:
            await worker.ready()
            async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/pyworker/metrics") as answer:
                text = await answer.text()
    shown = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    documented = dict(re.findall(r"^\| `(pyworker_\w+)` \| (\w+)", PAGE, re.MULTILINE))
    assert documented == shown
