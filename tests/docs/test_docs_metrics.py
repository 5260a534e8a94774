"""docs/reference/metrics.md against what a worker and an engine show."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp

from pyworker.testing import FakeModel, WorkerProcess
from tests.docs.pages import ROOT
from tests.support.engines import API_KEY, an_engine

OF_A_WORKER, _, OF_AN_ENGINE = (ROOT / "docs" / "reference" / "metrics.md").read_text().partition("## Of an engine")


async def test_the_metrics_on_the_page_are_those_of_a_worker(tmp_path: Path) -> None:
    log_path = tmp_path / "model.log"
    async with FakeModel(log_path=log_path, health_path="/healthcheck") as model:
        model.log("infer server has started")
        place = {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log_path)}
        async with WorkerProcess(["-m", "workers.hello_world.server"], env=place) as worker:
            await worker.ready()
            async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/pyworker/metrics") as answer:
                text = await answer.text()
    assert documented(OF_A_WORKER) == shown(text)


async def test_the_metrics_on_the_page_are_those_of_an_engine() -> None:
    async with an_engine() as engine:
        url, headers = f"{engine.url}/metrics", {"Authorization": f"Bearer {API_KEY}"}
        async with engine.http.get(url, headers=headers) as answer:
            assert documented(OF_AN_ENGINE) == shown(await answer.text())


def documented(page: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(pyworker_\w+)` \| (\w+)", page, re.MULTILINE))


def shown(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
