"""What holds for every test does hold: tests that break it fail."""

from __future__ import annotations

import pytest

from tests.support.source import ROOT

pytest_plugins = ["pytester"]

BAD_TESTS = """
import asyncio, os, subprocess, sys
import pytest
from pyworker.worker.model.log_tail import LogTail

async def hang(): await asyncio.sleep(600)

@pytest.mark.limit_s(0.05)
async def test_hangs():
    await hang()

async def test_blocks_the_event_loop(tmp_path):
    LogTail(tmp_path / "log").poll()

@pytest.mark.may_block
async def test_may_block(tmp_path):
    LogTail(tmp_path / "log").poll()

async def test_blocks_in_a_thread(tmp_path):
    await asyncio.to_thread(LogTail(tmp_path / "log").poll)

async def test_leaves_a_task():
    test_leaves_a_task.task = asyncio.create_task(hang())

async def test_leaves_a_task_about_to_end():
    test_leaves_a_task_about_to_end.task = asyncio.create_task(asyncio.sleep(0.01))

def test_leaves_a_process():
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0)"
    test_leaves_a_process.end = os.pipe()  # it ends with this one
    subprocess.run([sys.executable, "-c", script], stdin=test_leaves_a_process.end[0], check=True)

def test_sees_only_its_own_environment(tmp_path):
    assert "MASTER_TOKEN" not in os.environ
    assert os.environ["PYWORKER_STATE_DIR"].startswith(str(tmp_path))
"""


@pytest.mark.limit_s(120)
def test_a_test_that_breaks_the_rules_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("MASTER_TOKEN", "of this machine")
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    bad_tests = pytester.makepyfile(BAD_TESTS)
    pytester.makefile(".toml", pyproject=(ROOT / "pyproject.toml").read_text())
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", bad_tests)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED *::test_hangs - TimeoutError",
            "FAILED *::test_blocks_the_event_loop - *BlockingError: Blocking call to os.stat",
            "ERROR *::test_leaves_a_task - AssertionError: tasks left behind*",
            "ERROR *::test_leaves_a_process - AssertionError: processes left behind*",
        ]
    )
    result.assert_outcomes(passed=6, failed=2, errors=2)
