"""docs/how-to/call-from-python.md: its programs run, against an engine and a worker that answers."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from pyworker.testing import answer, stream
from tests.docs.pages import ROOT, Block, blocks
from tests.support.engines import API_KEY, ReportingWorker, a_fleet

PAGE = ROOT / "docs" / "how-to" / "call-from-python.md"
PROGRAMS = [block for block in blocks(PAGE) if block.language == "python"]


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
async def test_a_program_of_the_page_runs_and_leaves_nothing_open(program: Block) -> None:
    async with a_fleet(endpoints=("hello",)) as (engine, fleet):
        worker = await fleet.join(endpoint="hello")
        _answer(worker)
        text = program.text.replace("http://127.0.0.1:8080", engine.url)
        assert engine.url in text
        ran = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", text),
            env={**os.environ, "PYWORKER_API_KEY": API_KEY},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(ran.communicate(), 60)
        assert (ran.returncode, errors) == (0, b"")
        assert b"{'response': 'Hello!'}" in out
        assert b"stream" not in program.text.encode() or b"{'token': 'Hello'}" in out


def _answer(worker: ReportingWorker) -> None:
    worker.on("/generate", answer({"response": "Hello!"}))
    worker.on("/generate_stream", stream(['data: {"token": "Hello"}\n\n', "data: [DONE]\n\n"]))
    worker.on("/session/create", worker.checked(answer({"session_id": "s", "expiration": 0}, status=201)))
    worker.on("/session/end", answer({"ended": True, "removed_session": "s"}))


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == 3
