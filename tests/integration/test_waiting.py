"""A call that waits says why: at once where its words are kept, every few seconds on a terminal."""

from __future__ import annotations

import asyncio
import io

import pytest

from pyworker.client import Client
from pyworker.client.waiting import Waiting
from pyworker.testing import FakeServer, answer
from tests.support.engines import API_KEY, a_fleet
from tests.support.workers.rig import until


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def said(out: io.StringIO) -> list[str]:
    return [line.partition(": ")[2] for line in out.getvalue().splitlines()]


async def test_a_reason_is_said_once_until_it_changes() -> None:
    out = io.StringIO()
    waiting = Waiting(out)
    async with waiting.shown():
        for reason in ("no worker yet", "no worker yet", "the worker answers 429", "no worker yet"):
            waiting.heard(reason)
    assert said(out) == ["no worker yet", "the worker answers 429", "no worker yet"]


async def test_a_terminal_is_reminded_while_it_waits_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.client.waiting.FIRST_S", 0.01)
    monkeypatch.setattr("pyworker.client.waiting.EVERY_S", 0.01)
    out = Screen()
    waiting = Waiting(out)
    async with waiting.shown():
        await until(lambda: len(said(out)) > 1)
        waiting.heard("no worker yet")
        await until(lambda: "no worker yet" in said(out))
    lines = said(out)
    assert set(lines) == {"the engine has not answered yet", "no worker yet"}
    assert lines == sorted(lines, reverse=True)


async def test_what_a_call_waits_for_when_nothing_stands_in_the_way_is_its_callers_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyworker.client.waiting.FIRST_S", 0.01)
    out = Screen()
    async with Waiting(out, "the answer is not there yet").shown():
        await until(lambda: said(out) == ["the answer is not there yet"])


async def test_a_client_tells_what_its_call_waits_for_soon() -> None:
    """An engine may hold a call for long; the first time it is asked not to."""
    heard: list[str] = []
    async with a_fleet() as (engine, fleet):
        called = asyncio.Event()

        def on_obstacle(reason: str) -> None:
            heard.append(reason)
            called.set()

        async with Client(engine.url, API_KEY, on_obstacle=on_obstacle) as client:

            async def call() -> int:
                async with client.call("default", "/generate", {"prompt": "Hi"}) as got:
                    return got.status

            asking = asyncio.create_task(call())
            await called.wait()
            assert heard[0].startswith("no worker")
            worker = await fleet.join()
            worker.on("/generate", answer({}, status=503), worker.checked(answer({"response": "Hi"})))
            assert await asking == 200
    assert heard[-1] == f"the worker at {worker.url} answers 503"


async def test_nobody_needs_to_listen() -> None:
    async with FakeServer(default=answer({}, status=500)) as engine, Client(engine.url, API_KEY) as client:
        with pytest.raises(Exception, match="500"):
            async with client.call("default", "/generate", {}):
                pass
