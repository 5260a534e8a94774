"""`pyworker gateway`: a process beside an engine that answers as the engine's own gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import WorkerProcess, answer, by_hand
from tests.support.commands import PYWORKER
from tests.support.sdk import limit_s
from tests.support.site import KEY, Site, a_site

pytestmark = limit_s

EVENT = b'data: {"n": 1}\n\n'
CHAT = "/openai/default/v1/chat/completions"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        yield made


def _gateway(engine_url: str) -> WorkerProcess:
    return WorkerProcess([*PYWORKER, "gateway", "--port", "0", "--engine", engine_url])


async def _url(gateway: WorkerProcess) -> str:
    line = await gateway.output.where(lambda line: line.startswith("gateway "))
    return line.split()[1]


async def test_two_gateways_side_by_side_answer_and_refuse_as_the_engines_own(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/chat/completions", answer({"choices": []}))
    async with _gateway(site.engine.url) as first, _gateway(site.engine.url) as second:
        for base in (await _url(first), await _url(second), site.engine.url):
            async with site.http.post(base + CHAT, json={}, headers=KEY) as response:
                assert (response.status, await response.json()) == (200, {"choices": []})
            async with site.http.post(base + CHAT, json={}, headers={"Authorization": "Bearer wrong"}) as response:
                assert response.status == 401
                assert (await response.json())["error"]["type"] == "authentication_error"
        async with site.http.get(await _url(first) + "/metrics") as response:
            assert 'pyworker_gateway_answers_total{endpoint="default",status="200"} 1.0' in await response.text()


async def test_a_gateway_that_is_asked_to_end_finishes_what_it_has(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/chat/completions", by_hand)
    async with _gateway(site.engine.url) as gateway, aiohttp.ClientSession() as http:
        url = await _url(gateway) + CHAT
        asking = asyncio.create_task(http.post(url, json={"stream": True}, headers=KEY))
        request = await model.requests.next()
        await request.send(EVENT)
        async with await asking as response:
            assert await response.content.readany() == EVENT
            gateway.terminate()
            await request.send(EVENT)
            await request.end()
            assert await response.read() == EVENT
        assert await gateway.ended() == 0


async def test_without_an_engine_a_gateway_says_so(site: Site) -> None:
    async with _gateway("http://127.0.0.1:9") as gateway:
        url = await _url(gateway) + CHAT
        async with site.http.post(url, json={}, headers=KEY) as response:
            said = (await response.json())["error"]["message"]
    assert response.status == 503
    assert "no engine answers" in said
