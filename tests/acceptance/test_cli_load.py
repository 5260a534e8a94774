"""`pyworker load`, as a process, against real sockets."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pyworker.testing import FakeModel, WorkerProcess, answer, by_hand, stream
from tests.support.commands import PYWORKER
from tests.support.engines import API_KEY
from tests.support.sdk import limit_s
from tests.support.site import Site, a_site

pytestmark = limit_s

EVENTS = ['data: {"n": 1}\n\n', 'data: {"n": 2}\n\n', "data: [DONE]\n\n"]


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    async with FakeModel(default=stream(EVENTS, headers={"Content-Type": "text/event-stream"})) as made:
        yield made


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        yield made


def _load(*arguments: object, **env: str) -> WorkerProcess:
    return WorkerProcess([*PYWORKER, "load", *map(str, arguments)], env=env)


def _row(process: WorkerProcess, name: str) -> list[str]:
    (line,) = [line for line in process.output if line.startswith(name)]
    return line.split()[1:]


async def test_any_openai_server_is_sent_chats_of_the_sizes_asked_for(model: FakeModel, tmp_path: Path) -> None:
    report, page = tmp_path / "report.json", tmp_path / "report.html"
    sizes = ("--input-tokens", 7, "--output-tokens", 3)
    files = ("--json", report, "--html", page)
    url = f"{model.url}/v1/chat/completions"
    async with _load(url, "-n", 5, "--rate", 50, *sizes, *files, "--objective", "latency=30s", "-k", "k") as load:
        assert await load.ended() == 0
    assert _row(load, "ok") == ["5"]
    assert _row(load, "tokens")[0] == "15"
    assert _row(load, "good")[0] == "100.0%,"
    asked = [request.json() for request in model.requests]
    assert [(len(one["messages"][0]["content"].split()), one["max_tokens"], one["stream"]) for one in asked] == [
        (7, 3, True)
    ] * 5
    assert len({one["messages"][0]["content"] for one in asked}) == 5
    assert model.requests[0].headers["Authorization"] == "Bearer k"
    data = json.loads(report.read_text())
    assert (data["sent"], data["ok"], data["errors"], data["good_share"]) == (5, 5, {}, 1.0)
    assert set(data["times_s"]) == {"latency", "first_token", "between_tokens"}
    assert "<svg" in page.read_text()


async def test_slow_answers_do_not_delay_arrivals(model: FakeModel) -> None:
    model.on("/slow", by_hand)
    async with _load(f"{model.url}/slow", "-n", 20, "--rate", 200) as load:
        for request in await model.requests.at_least(20):  # all are there before one is answered
            await request.answer({})
        assert await load.ended() == 0


async def test_ctrl_c_ends_early_and_what_there_was_is_the_result(model: FakeModel, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    async with _load(f"{model.url}/x", "-n", 1000, "--rate", 5, "--json", report) as load:
        await model.requests.at_least(2)
        os.kill(load.pid, signal.SIGINT)
        assert await load.ended() == 130
    assert 2 <= json.loads(report.read_text())["sent"] < 1000


async def test_a_trace_is_replayed_in_its_own_time(model: FakeModel, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"2023-11-16 18:17:0{second}.5000000,{second},{2 * second}" for second in range(1, 6)]
    trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines, "never,1,1"]))
    url = f"{model.url}/v1/chat/completions"
    async with _load(url, "--trace", trace) as load:
        assert await load.ended() == 1
    assert any("line 7" in line for line in load.output)
    assert not model.requests
    async with _load(url, "--trace", trace, "--skip-bad-lines", "--speed", 20, "--until", 4) as load:
        assert await load.ended() == 0
    assert [request.json()["max_tokens"] for request in model.requests] == [2, 4, 6, 8]


async def test_errors_are_told_by_kind_and_the_status_says_so(model: FakeModel) -> None:
    model.on("/x", answer({"error": "no"}, status=500))
    async with _load(f"{model.url}/x", "-n", 3, "--rate", 100) as load:
        assert await load.ended() == 1
    assert any(line.split() == ["3", "the", "worker", "answers", "500"] for line in load.output)


async def test_a_server_that_is_not_there_ends_the_test_at_once() -> None:
    async with _load("http://127.0.0.1:9/v1/chat/completions", "-n", 1000) as load:
        assert await load.ended() == 1
    assert any("nothing answers at http://127.0.0.1:9/" in line for line in load.output)


async def test_a_result_that_cannot_be_written_is_told_before_anything_is_sent(model: FakeModel) -> None:
    async with _load(f"{model.url}/x", "--json", "/nowhere/report.json") as load:
        assert await load.ended() == 1
    assert any("/nowhere/report.json" in line and "name another file" in line for line in load.output)
    assert not model.requests


async def test_an_endpoint_is_asked_through_its_engine_and_its_workers_told_apart(site: Site) -> None:
    await site.start_worker()
    await site.start_worker()
    env = {"PYWORKER_ENGINE": site.engine.url, "PYWORKER_API_KEY": API_KEY}
    payload = '{"prompt": "{prompt}", "seed": "{seed}"}'
    async with _load("default", "/generate", "-d", payload, "-n", 20, "--rate", 100, **env) as load:
        assert await load.ended() == 0
    assert _row(load, "ok") == ["20"]
    assert sum(line.startswith(("http://",)) for line in load.output) == 2


async def test_the_limit_is_found(model: FakeModel) -> None:
    arguments = ("--find-limit", "--rate", 16, "--seconds", 1, "--objective", "latency=1ms")
    async with _load(f"{model.url}/x", *arguments) as load:
        assert await load.ended() in {0, 1}  # whether this machine answers within 1 ms at any rate
    assert any("limit: " in line or "no rate that was tried" in line for line in load.output)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hello",), "say which route"),
        (("hello", "/generate"), "say what to send"),
        (("http://h/x", "--pattern", "wild"), "poisson"),
        (("http://h/x", "--rate", "0"), "above 0"),
        (("http://h/x", "--ramp-to", "5", "--swing", "1"), "--ramp-to or --swing"),
        (("http://h/x", "--objective", "fast"), "ttft"),
        (("http://h/x", "--find-limit"), "--objective"),
        (("http://h/x", "--trace", "/nowhere"), "/nowhere"),
        (("http://h/x", "-d", "{"), "JSON object"),
    ],
)
async def test_what_is_missing_or_wrong_is_named(arguments: tuple[str, ...], words: str) -> None:
    async with _load(*arguments, PYWORKER_API_KEY="k") as load:
        assert await load.ended() in {1, 2}
    assert words in " ".join(load.output)
