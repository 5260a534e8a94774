"""The TGI worker as a process, before a stand-in that speaks TGI's protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.worker_rig import WorkerRig, model_process, ready_worker

CONNECTED = "text_generation_router: Connected "
ASKED = {"inputs": "the quick brown fox", "parameters": {"max_new_tokens": 3}}


@asynccontextmanager
async def tgi(folder: Path, token_s: float = 0.0005) -> AsyncIterator[WorkerRig]:
    async with model_process("workers.tgi.stand_in", CONNECTED, "--token-s", str(token_s)) as (_, url):
        loaded = (folder / "model.log", f"2026-01-01T00:00:00Z  INFO {CONNECTED}")
        async with ready_worker("workers.tgi.server", url, loaded=loaded) as rig:
            yield rig


async def events(rig: WorkerRig, route: str, payload: Any) -> list[str]:
    async with rig.http.post(route, json=rig.envelope(payload)) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        text = await response.text()
    return [line.removeprefix("data:").strip() for line in text.split("\n\n") if line]


async def test_text_comes_whole_and_token_by_token_by_all_routes(tmp_path: Path) -> None:
    async with tgi(tmp_path) as rig:
        status, body = await rig.post("/generate", ASKED)
        assert (status, body) == (200, {"generated_text": " the quick brown"})

        said = [json.loads(event) for event in await events(rig, "/generate_stream", ASKED)]
        assert [event["token"]["text"] for event in said] == [" the", " quick", " brown"]
        assert (said[-1]["generated_text"], said[-1]["details"]["generated_tokens"]) == (" the quick brown", 3)

        chat = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 2}
        status, body = await rig.post("/v1/chat/completions", chat)
        assert (status, body["choices"][0]["message"]["content"]) == (200, " hello there")
        chunks = await events(rig, "/v1/chat/completions", {**chat, "stream": True})
        assert chunks[-1] == "[DONE]"
        async with rig.http.post("/v1/chat/completions", json=chat, headers=rig.header()) as response:
            assert (await response.json())["choices"][0]["message"]["content"] == " hello there"  # without an envelope
        async with rig.http.get("/info", headers=rig.header()) as response:
            assert (await response.json())["model_id"] == "stand-in"


async def test_errors_keep_tgis_words_or_name_the_parameter(tmp_path: Path) -> None:
    async with tgi(tmp_path) as rig:
        wrong = {"inputs": "a", "parameters": {"temperature": 0}}
        for route in ("/generate", "/generate_stream"):
            assert await rig.post(route, wrong) == (
                422,
                {"payload": {"parameters": {"temperature": "must be above 0"}}},
            )
            status, body = await rig.post(route, {"inputs": "word " * 5000})
            assert (status, body["error_type"]) == (422, "validation")
            status, body = await rig.post(route, {"inputs": "fail"})
            assert (status, body["error_type"]) == (424, "generation")
        *_, last = await events(rig, "/generate_stream", {"inputs": "fail late", "parameters": {"max_new_tokens": 9}})
        assert json.loads(last)["error_type"] == "generation"
        finished = [await rig.engine.finished.next() for _ in range(5)]
        assert {one.status for one in finished} == {"Error"}


@pytest.mark.parametrize("route", ["/generate", "/generate_stream"])
async def test_a_client_that_leaves_frees_its_place(tmp_path: Path, route: str) -> None:
    async with tgi(tmp_path, token_s=0.005) as rig:
        endless = {"inputs": "go on", "parameters": {"max_new_tokens": 100_000}}
        asking = asyncio.create_task(rig.post(route, endless))
        await rig.engine.reports.where(lambda report: report.num_requests_working > 0)
        asking.cancel()
        finished = await rig.engine.finished.next()
        assert finished.status == "Cancelled"
