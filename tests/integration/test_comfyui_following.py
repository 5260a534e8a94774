"""Following a prompt: nothing hangs and nothing is missed, whatever comes over the websocket or does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from workers.comfyui.comfy import Comfy, ComfyFailed
from workers.comfyui.protocol import outcome_of, queue_of

DONE = {"outputs": {}, "status": {"status_str": "success", "messages": []}}
END = {"type": "executing", "data": {"node": None, "prompt_id": "p"}}


class Scripted:
    """A ComfyUI that says over its websocket what the test wants, and knows a prompt or not."""

    def __init__(self, *messages: Any, history: bool = False, queued: bool = False, closes: bool = False) -> None:
        self.messages = messages
        self.history = history
        self.queued = queued
        self.closes = closes
        self.history_after_messages = False

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for message in self.messages:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(json.dumps(message)))
        self.history = self.history or self.history_after_messages
        if not self.closes:
            await socket.receive()
        return socket

    async def history_of(self, _: web.Request) -> web.Response:
        return web.json_response({"p": DONE} if self.history else {})

    async def queue(self, _: web.Request) -> web.Response:
        pending = [[1, "p", {}, {"client_id": "c"}, []]] if self.queued else []
        return web.json_response({"queue_running": [], "queue_pending": pending})


@asynccontextmanager
async def following(script: Scripted) -> AsyncIterator[Callable[[], AsyncIterator[dict[str, Any]]]]:
    app = web.Application()
    app.add_routes(
        [
            web.get("/ws", script.socket),
            web.get("/history/{id}", script.history_of),
            web.get("/queue", script.queue),
        ]
    )
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as http:
        comfy = Comfy(lambda: http, quiet_s=0.05)
        yield lambda: comfy.follow("p", "c")


async def test_what_has_ended_before_the_websocket_is_open_is_not_waited_for() -> None:
    async with following(Scripted(history=True)) as follow:
        assert [event async for event in follow()] == []


async def test_previews_and_other_prompts_are_left_out() -> None:
    other = {"type": "progress", "data": {"prompt_id": "other", "value": 1, "max": 2, "node": "1"}}
    mine = {"type": "progress", "data": {"prompt_id": "p", "value": 1, "max": 2, "node": "1"}}
    unknown = {"type": "crystools.monitor", "data": {}}
    ends_of_others = {"type": "executing", "data": {"node": None, "prompt_id": "other"}}
    async with following(Scripted(b"preview", other, unknown, mine, ends_of_others, END)) as follow:
        assert [event async for event in follow()] == [{"status": "progress", "node": "1", "value": 1, "max": 2}]


async def test_an_end_that_was_not_told_is_found_in_the_history() -> None:
    script = Scripted({"type": "execution_start", "data": {"prompt_id": "p"}})
    script.history_after_messages = True
    async with following(script) as follow:
        assert [event async for event in follow()][-1:] in ([], [{"status": "started"}])


async def test_a_prompt_that_comfyui_does_not_know_any_more_is_not_waited_for() -> None:
    async with following(Scripted()) as follow:
        with pytest.raises(ComfyFailed, match="does not know the prompt"):
            _ = [event async for event in follow()]


async def test_a_connection_that_breaks_is_a_failure() -> None:
    async with following(Scripted(closes=True, queued=True)) as follow:
        with pytest.raises(ComfyFailed, match="closed the connection"):
            _ = [event async for event in follow()]


async def test_what_does_not_answer_is_a_failure() -> None:
    async with aiohttp.ClientSession("http://127.0.0.1:9") as http:
        with pytest.raises(ComfyFailed, match="broke off"):
            _ = [event async for event in Comfy(lambda: http).follow("p", "c")]


# --- what is said, in itself ----------------------------------------------------------------------


def test_an_outcome_names_what_was_saved_and_leaves_traceback_and_inputs_out() -> None:
    file = {"filename": "a.png", "subfolder": "x", "type": "output"}
    outputs = {"9": {"images": [file, {"filename": "b.png", "type": "temp"}], "text": ["hello"], "n": 5}, "8": None}
    error = {"exception_type": "E", "exception_message": "m", "node_id": "9", "node_type": "T", "traceback": ["x"]}
    status = {"status_str": "error", "messages": [["execution_start", {}], ["execution_error", error]]}
    outcome = outcome_of({"outputs": outputs, "status": status})
    assert [(file.node_id, file.filename, file.subfolder) for file in outcome.files] == [("9", "a.png", "x")]
    assert outcome.error == {"type": "E", "message": "m", "node_id": "9", "node_type": "T"}
    assert not outcome.is_interrupted


def test_what_was_only_to_be_looked_at_is_better_than_nothing() -> None:
    outcome = outcome_of({"outputs": {"9": {"images": [{"filename": "b.png", "type": "temp"}]}}})
    assert [file.type for file in outcome.files] == ["temp"]


def test_a_queue_of_items_that_are_not_understood_is_an_empty_one() -> None:
    assert queue_of({"queue_running": [[1]], "queue_pending": None}) == []
