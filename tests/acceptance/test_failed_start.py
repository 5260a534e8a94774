"""Fault 34 of the field where nobody catches what fails: a file that is run by itself, before its server starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pyworker.testing import FakeEngine, WorkerProcess

ROOT = Path(__file__).parents[2]
MISSPELT = ROOT / "tests" / "support" / "workers" / "broken" / "misspelt_backend.py"


@pytest.mark.parametrize("name", ["server.py", "worker.py"])
async def test_the_engine_hears_of_a_file_that_fails_before_it_starts_a_server(tmp_path: Path, name: str) -> None:
    """As a module, which is how the guide has it."""
    (tmp_path / name).write_text(MISSPELT.read_text())
    async with FakeEngine(mtoken="the-mtoken") as engine:
        async with WorkerProcess(["-m", name.removesuffix(".py")], engine=engine, cwd=tmp_path) as process:
            assert await process.ended() == 1
        report = await engine.reports.next()
        assert (report.id, report.url) == (1, process.url)
        assert "did you mean 'allow_parallel_requests'?" in (report.error_msg or "")
        assert "Traceback (most recent call last):" in process.output


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("client.py", "from pyworker import Backend\nBackend(prot=1)"),
        ("server.py", "import sys\nfrom pyworker import Backend\nsys.exit(1)"),
    ],
    ids=["no worker", "its own will"],
)
async def test_the_engine_hears_of_no_other_end(tmp_path: Path, name: str, script: str) -> None:
    """That would be an error of a worker that has none."""
    (tmp_path / name).write_text(script)
    async with FakeEngine(mtoken="the-mtoken") as engine:
        async with WorkerProcess([str(tmp_path / name)], engine=engine, cwd=ROOT) as process:
            assert await process.ended() == 1
        assert not engine.reports


async def test_an_engine_that_never_answers_does_not_keep_a_failed_start(tmp_path: Path) -> None:
    """The address takes connections and says nothing."""
    (tmp_path / "server.py").write_text(MISSPELT.read_text())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"REPORT_ADDR": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        async with WorkerProcess([str(tmp_path / "server.py")], env=env, cwd=ROOT) as process:
            assert await process.ended(wait_s=40.0) == 1
            assert any("could not be told" in line for line in process.output)
