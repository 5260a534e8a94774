"""The model server as a process: answers, streams, clients that leave, bad input, bad models, signals."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.testing import WorkerProcess
from tests.support.tiny_model import write_tiny_model
from workers.hello_world.prompt_tokens import count_tokens

START_S = 25.0
ENDLESS = {"prompt": "go on", "max_response_tokens": 100_000}  # the tiny model rarely stops by itself
ENDLESS_CHAT = {"messages": [{"role": "user", "content": "go on"}], "max_tokens": 100_000}
BRIEF = {"prompt": "go on", "max_response_tokens": 5}


@dataclass
class ModelServer:
    """A running one, a client of it, and its log."""

    process: WorkerProcess
    http: aiohttp.ClientSession
    log: Path

    async def load(self) -> dict[str, Any]:
        async with self.http.get("/healthcheck") as response:
            assert response.status == 200
            return await response.json()

    async def becomes(self, **load: int) -> None:
        """Wait until it is as busy as that."""
        while not load.items() <= (await self.load()).items():  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.02)

    async def logs(self, words: str) -> None:
        """Wait until its log has these words: llama.cpp writes it in a thread of its own."""
        while words not in self.log.read_text():  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.02)


@asynccontextmanager
async def model_server(folder: Path, *options: str) -> AsyncIterator[ModelServer]:
    log = folder / "model.log"
    command = ["-m", "workers.hello_world.model_server", "--port", "0", "--threads", "1", "--log", str(log), *options]
    async with WorkerProcess(command) as process:
        line = await process.output.where(lambda line: "the model answers on" in line, wait_s=START_S)
        async with aiohttp.ClientSession(line.split()[-1]) as http:
            yield ModelServer(process, http, log)


@asynccontextmanager
async def tiny_model_server(folder: Path) -> AsyncIterator[ModelServer]:
    model = write_tiny_model(folder / "tiny.gguf")
    async with model_server(folder, "--model", str(model), "--parallel", "1") as server:
        yield server


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """The JSON of each event of a stream."""
    async for line in response.content:
        if line != b"\n":
            assert line.startswith(b"data: {")
            yield json.loads(line.removeprefix(b"data: "))


# --- what it is there for -------------------------------------------------------------------------


@pytest.mark.limit_s(90)
async def test_the_real_model_answers_and_streams(tmp_path: Path) -> None:
    asked = {"prompt": "What is the capital of France?", "max_response_tokens": 12}
    prompt_tokens = await asyncio.to_thread(count_tokens, asked["prompt"])
    async with model_server(tmp_path) as server:
        async with server.http.post("/generate", json=asked) as response:
            assert response.status == 200
            answer = await response.json()
        async with server.http.post("/generate_stream", json=asked) as response:
            assert response.content_type == "text/event-stream"
            *tokens, end = [event async for event in events(response)]
    assert answer["response"].strip()
    assert 1 <= answer["response_tokens"] <= 12
    assert answer["prompt_tokens"] == end["prompt_tokens"] > prompt_tokens  # the chat template's besides
    assert all(event["token"] for event in tokens)
    assert len(tokens) <= end["response_tokens"] <= 12
    assert end["finish_reason"] in {"stop", "length"}


async def test_a_stream_arrives_while_the_model_still_works(tmp_path: Path) -> None:
    async with tiny_model_server(tmp_path) as server, server.http.post("/generate_stream", json=ENDLESS) as response:
        stream = events(response)
        assert (await anext(stream))["token"]
        assert (await server.load())["working"] == 1


async def test_without_a_limit_the_answer_still_ends(tmp_path: Path) -> None:
    asked = {"prompt": "go on", "max_response_tokens": None}
    async with tiny_model_server(tmp_path) as server, server.http.post("/generate", json=asked) as response:
        answer = await response.json()
    assert (answer["finish_reason"], answer["response_tokens"]) == ("length", 512)


async def test_it_speaks_openais_api_whole_and_as_events(tmp_path: Path) -> None:
    asked = {"messages": [{"role": "user", "content": "go on"}], "max_tokens": 5}
    async with tiny_model_server(tmp_path) as server:
        async with server.http.get("/v1/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == ["tiny"]
        async with server.http.post("/v1/chat/completions", json=asked) as response:
            answer = await response.json()
        assert (answer["model"], answer["usage"]["completion_tokens"]) == ("tiny", 5)
        assert answer["choices"][0]["message"]["content"]
        async with server.http.post("/v1/chat/completions", json={**asked, "stream": True}) as response:
            assert response.content_type == "text/event-stream"
            text = await response.text()
    *chunks, done = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert done == "[DONE]"
    assert sum(bool(json.loads(chunk)["choices"][0]["delta"].get("content")) for chunk in chunks) == 5


async def test_a_chat_without_a_limit_ends_too(tmp_path: Path) -> None:
    asked = {"messages": [{"role": "user", "content": "go on"}], "max_tokens": None}
    async with tiny_model_server(tmp_path) as server, server.http.post("/v1/chat/completions", json=asked) as response:
        assert (await response.json())["usage"]["completion_tokens"] == 512


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 422), (b'{"messages": 7}', 400), (b"{}", 400)])
async def test_what_is_wrong_with_a_chat_is_told_and_frees_its_slot(tmp_path: Path, body: bytes, status: int) -> None:
    async with tiny_model_server(tmp_path) as server:
        for _ in range(2):
            async with server.http.post("/v1/chat/completions", data=body) as response:
                assert (response.status, bool((await response.json())["error"])) == (status, True)
        await server.becomes(working=0, waiting=0)


# --- clients that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["/generate", "/generate_stream", "/v1/chat/completions"])
async def test_a_client_that_leaves_frees_its_slot(tmp_path: Path, route: str) -> None:
    async with tiny_model_server(tmp_path) as server:
        async with leaving_client(server, route):
            await server.becomes(working=1, waiting=0)
        async with server.http.post("/generate", json=BRIEF) as response:
            assert (await response.json())["response_tokens"] == 5
        await server.becomes(working=0, waiting=0)
        await server.logs("cancel task")  # llama.cpp's words for it


async def test_a_client_that_leaves_while_it_waits_is_forgotten(tmp_path: Path) -> None:
    async with tiny_model_server(tmp_path) as server, leaving_client(server, "/generate"):
        await server.becomes(working=1, waiting=0)
        async with leaving_client(server, "/generate_stream"), leaving_client(server, "/generate"):
            await server.becomes(working=1, waiting=2)
        await server.becomes(working=1, waiting=0)


@asynccontextmanager
async def leaving_client(server: ModelServer, route: str) -> AsyncIterator[None]:
    """A client that asks for more than it waits for."""

    async def ask() -> None:
        async with server.http.post(route, json={**ENDLESS, **ENDLESS_CHAT}) as response:
            await response.read()

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait([asking])


# --- bad input ------------------------------------------------------------------------------------

BAD_REQUESTS: list[tuple[bytes, int, str]] = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"\xff", 400, "not JSON"),
    (b'{"prompt": "a", "other": ' + b"[" * 100_000, 400, "not JSON"),
    (b'{"prompt": "\\ud800"}', 400, "not JSON"),
    (b"[]", 422, "object"),
    (b"{}", 422, "prompt"),
    (b'{"prompt": null}', 422, "prompt"),
    (b'{"prompt": 5}', 422, "prompt"),
    (b'{"prompt": ""}', 422, "prompt"),
    (b'{"prompt": "a", "max_response_tokens": "5"}', 422, "max_response_tokens"),
    (b'{"prompt": "a", "max_response_tokens": true}', 422, "max_response_tokens"),
    (b'{"prompt": "a", "max_response_tokens": 1.5}', 422, "max_response_tokens"),
    (b'{"prompt": "a", "max_response_tokens": 0}', 422, "max_response_tokens"),
    (b'{"prompt": "a", "max_response_tokens": 99999999999999999999}', 422, "max_response_tokens"),
    (b'{"prompt": "%b"}' % (b"secret " * 2_000), 400, "context size"),
    (b'{"prompt": "%b"}' % (b"secret " * 200_000), 413, "Too Large"),
]


async def test_bad_input_is_a_4xx_that_says_why_and_nothing_is_kept_of_it(tmp_path: Path) -> None:
    async with tiny_model_server(tmp_path) as server:
        for route in ("/generate", "/generate_stream"):
            for body, status, reason in BAD_REQUESTS:
                async with server.http.post(route, data=io.BytesIO(body)) as response:
                    assert (response.status, response.content_type) == (status, "application/json"), body[:80]
                    assert reason in (await response.json())["error"]
        for method, path, status in [("GET", "/generate", 405), ("POST", "/", 404)]:
            async with server.http.request(method, path) as response:
                assert (response.status, response.content_type) == (status, "application/json")
        await server.becomes(working=0, waiting=0)
        assert "secret" not in server.log.read_text()


# --- log and terminal -----------------------------------------------------------------------------


async def test_the_log_holds_numbers_and_no_words_and_the_terminal_one_line(tmp_path: Path) -> None:
    async with tiny_model_server(tmp_path) as server:
        for route in ("/generate", "/generate_stream"):
            async with server.http.post(route, json={"prompt": "xyzzy", "max_response_tokens": 3}) as response:
                answer = await response.text()
        server.process.terminate()
        assert await server.process.ended() == 0
        log = server.log.read_text()
    assert re.search(r'"message":"infer server has started","url":"http://127\.0\.0\.1:\d+"', log)
    assert re.search(r'"message":"generate","finish_reason":"length","prompt_tokens":\d+,"response_tokens":3', log)
    assert "xyzzy" not in log
    assert answer
    assert len(server.process.output) == 1


async def test_the_log_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "model.log").write_text("infer server has started, yesterday\n")
    async with tiny_model_server(tmp_path) as server:
        assert "yesterday" not in server.log.read_text()


# --- starting and ending --------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"GGUF and then nothing"])
async def test_a_model_that_cannot_be_loaded_is_an_error_in_the_log_and_status_1(
    tmp_path: Path, content: bytes | None
) -> None:
    model, log = tmp_path / "broken.gguf", tmp_path / "model.log"
    if content is not None:
        model.write_bytes(content)
    command = ["-m", "workers.hello_world.model_server", "--port", "0", "--log", str(log), "--model", str(model)]
    async with WorkerProcess(command) as process:
        assert await process.ended() == 1
        assert "Exception: corrupted model file" in log.read_text()
        assert "infer server has started" not in log.read_text()
        assert ["broken.gguf" in line for line in process.output] == [True]


async def test_half_a_model_file_is_not_served(tmp_path: Path) -> None:
    whole = write_tiny_model(tmp_path / "tiny.gguf").read_bytes()
    half, log = tmp_path / "half.gguf", tmp_path / "model.log"
    half.write_bytes(whole[: len(whole) // 2])
    async with WorkerProcess(
        ["-m", "workers.hello_world.model_server", "--port", "0", "--log", str(log), "--model", str(half)]
    ) as process:
        assert await process.ended() == 1
        assert "Exception: corrupted model file" in log.read_text()


async def test_a_port_that_is_taken_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with WorkerProcess(["-m", "workers.hello_world.model_server", "--port", str(port)]) as process:
            assert await process.ended() == 1
            assert ["cannot start the model server" in line for line in process.output] == [True]


async def test_a_port_that_is_taken_is_said_on_the_terminal_and_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "model.log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = ["-m", "workers.hello_world.model_server", "--port", str(port), "--log", str(log)]
        async with WorkerProcess(command) as process:
            assert await process.ended() == 1
            (said,) = process.output
            assert said.startswith(f"cannot start the model server on 127.0.0.1:{port}: ")
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["message"].startswith("cannot start the model server")


async def test_without_a_log_file_the_log_is_what_it_prints(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.gguf")
    async with WorkerProcess(
        ["-m", "workers.hello_world.model_server", "--port", "0", "--threads", "1", "--model", str(model)]
    ) as process:
        started = await process.output.where(lambda line: "infer server has started" in line, wait_s=START_S)
        assert json.loads(started)["url"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_answers_finish_and_takes_no_new_ones(tmp_path: Path, number: signal.Signals) -> None:
    async with tiny_model_server(tmp_path) as server:
        asked = {"prompt": "go on", "max_response_tokens": 200}
        async with server.http.post("/generate_stream", json=asked) as response:
            stream = events(response)
            await anext(stream)
            os.kill(server.process.pid, number)
            *_, end = [event async for event in stream]
        assert end["response_tokens"] == 200
        assert await server.process.ended() == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await server.load()
        assert "infer server has stopped" in server.log.read_text()
