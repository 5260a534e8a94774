"""The gateway of an engine: any HTTP client reaches an endpoint's workers with an API key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yarl

from pyworker.gateway import gateway as gateway_module
from pyworker.testing import after, answer, by_hand, drop, echo, stream
from tests.support.site import KEY, Site, a_site
from tests.support.workers.rig import until

pytestmark = pytest.mark.limit_s(30)

CHAT = "/openai/default/v1/chat/completions"
EVENTS = [b'data: {"n": 1}\n\n', b'data: {"n": 2}\n\n', b"data: [DONE]\n\n"]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as made:
        yield made


async def test_a_request_reaches_the_model_as_it_was_sent_less_its_secrets(site: Site) -> None:
    model = await site.start_worker()
    body = b'{"messages": [],  "max_tokens": 3}'
    headers = {**KEY, "Content-Type": "application/json", "Cookie": "a=b", "X-Mine": "yes", "X-Cost": "7"}
    async with site.http.post(site.base + CHAT, data=body, headers=headers) as response:
        assert (response.status, await response.json()) == (200, {"text": "hello"})
    (asked,) = model.requests
    assert (asked.method, asked.path, asked.body) == ("POST", "/v1/chat/completions", body)
    assert asked.headers["X-Mine"] == "yes"
    for secret in ("Authorization", "Cookie", "X-Auth-Data", "X-Cost"):
        assert secret not in asked.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_any_method_and_path_goes_through(site: Site, method: str) -> None:
    model = await site.start_worker()
    url = yarl.URL(site.base + "/endpoints/default/items/a%20b?x=1&api_key=gone&y=%2F", encoded=True)
    async with site.http.request(method, url, headers=KEY, data=b"\x00\xff" if method != "GET" else None):
        pass
    (asked,) = model.requests
    assert (asked.method, asked.url.raw_path_qs) == (method, "/items/a%20b?x=1&y=%2F")
    assert asked.body == (b"" if method == "GET" else b"\x00\xff")


async def test_a_form_with_a_file_comes_through_byte_for_byte(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/audio/transcriptions", echo)
    form = aiohttp.FormData()
    form.add_field("file", b"RIFF" * 50_000, filename="a.wav")
    async with site.http.post(site.base + "/openai/default/v1/audio/transcriptions", data=form, headers=KEY) as got:
        assert got.status == 200
    assert b"RIFF" * 50_000 in model.requests[0].body


async def test_events_come_as_the_model_sends_them(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/chat/completions", by_hand)
    asking = asyncio.create_task(site.http.post(site.base + CHAT, json={"stream": True}, headers=KEY))
    request = await model.requests.next()
    await request.send(EVENTS[0])
    async with await asking as response:
        assert await response.content.readany() == EVENTS[0]
        await request.send(b"".join(EVENTS[1:]))
        await request.end()
        assert await response.read() == b"".join(EVENTS[1:])


async def test_a_cold_endpoint_keeps_who_wants_events_with_comments(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_module, "SILENCE_S", 0.05)
    async with site.http.post(site.base + CHAT, json={"stream": True}, headers=KEY) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert (await response.content.readline()).startswith(b": ")
        model = await site.start_worker()
        model.on("/v1/chat/completions", stream(EVENTS, headers={"Content-Type": "text/event-stream"}))
        body = await response.read()
    assert body.endswith(b"".join(EVENTS))


async def test_after_comments_a_failure_is_an_event(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "SILENCE_S", 0.05)
    model = await site.start_worker()
    refused = asyncio.Event()
    model.on("/v1/chat/completions", after(refused, answer({"error": {"message": "too long"}}, status=400)))
    async with site.http.post(site.base + CHAT, json={"stream": True}, headers=KEY) as response:
        assert (await response.content.readline()).startswith(b": ")
        refused.set()
        *_, event = (await response.read()).split(b"\n\n")[:-1]
    assert json.loads(event.strip().removeprefix(b"data: ")) == {"error": {"message": "too long"}}


async def test_a_cold_endpoint_holds_others_until_a_worker_is_there(site: Site) -> None:
    asking = asyncio.create_task(_status(site, CHAT))
    await until(lambda: not asking.done())
    await site.start_worker()
    assert await asking == 200


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_nobody_gets_in_without_a_key(site: Site, key: str | None) -> None:
    model = await site.start_worker()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with site.http.post(site.base + CHAT, json={}, headers=headers) as response:
        assert response.status == 401
        assert (await response.json())["error"]["type"] == "authentication_error"
    assert not model.requests


async def test_an_endpoint_that_is_not_there_is_named(site: Site) -> None:
    async with site.http.post(site.base + "/openai/other/v1/models", json={}, headers=KEY) as response:
        assert response.status == 400
        assert "other" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("cost", ["much", "-1", "nan", "inf"])
async def test_a_cost_that_is_none_is_named(site: Site, cost: str) -> None:
    async with site.http.post(site.base + CHAT, json={}, headers={**KEY, "X-Cost": cost}) as response:
        assert response.status == 400
        assert "X-Cost" in (await response.json())["error"]["message"]


async def test_the_models_own_failure_comes_through(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/chat/completions", answer({"error": {"message": "no such model"}}, status=404))
    async with site.http.post(site.base + CHAT, json={}, headers=KEY) as response:
        assert (response.status, await response.json()) == (404, {"error": {"message": "no such model"}})


async def test_a_worker_that_turns_away_is_asked_no_more_and_another_answers(site: Site) -> None:
    first, second = await site.start_worker(), await site.start_worker()
    await site.workers[0].runtime.drain(0.01)
    assert [await _status(site, CHAT) for _ in range(4)] == [200] * 4
    assert (len(first.requests), len(second.requests)) == (0, 4)


async def test_a_model_that_dies_in_mid_stream_gives_no_clean_end(site: Site) -> None:
    model = await site.start_worker()
    model.on("/generate", drop([b"half "]))
    with pytest.raises(aiohttp.ClientError):
        async with site.http.get(site.base + "/endpoints/default/generate", headers=KEY) as response:
            await response.read()


async def test_an_answer_that_is_cut_off_is_counted_once(site: Site) -> None:
    model = await site.start_worker()
    model.on("/generate", drop([b"half "]))
    with pytest.raises(aiohttp.ClientError):
        async with site.http.get(site.base + "/endpoints/default/generate", headers=KEY) as response:
            await response.read()
    async with site.http.get(site.engine.url + "/metrics", headers=KEY) as response:
        text = await response.text()
    counted = [line for line in text.splitlines() if line.startswith("pyworker_gateway_answers_total{")]
    assert counted == ['pyworker_gateway_answers_total{endpoint="default",status="200"} 1.0']
    assert 'pyworker_gateway_broken_answers_total{endpoint="default"} 1.0' in text


async def test_a_caller_who_leaves_ends_the_models_work(site: Site) -> None:
    model = await site.start_worker()
    model.on("/v1/chat/completions", by_hand)
    asking = asyncio.create_task(_status(site, CHAT))
    request = await model.requests.next()
    asking.cancel()
    await request.gone.wait()
    await until(site.balanced, "nothing is in flight")


async def test_a_caller_who_leaves_while_it_waits_leaves_no_place_in_the_line(site: Site) -> None:
    asking = asyncio.create_task(_status(site, CHAT))
    await _waiting(site, 1)
    asking.cancel()
    await _waiting(site, 0)


async def test_metrics_count_what_the_gateway_answers(site: Site) -> None:
    await site.start_worker()
    assert await _status(site, CHAT) == 200
    async with site.http.get(site.engine.url + "/metrics", headers=KEY) as response:
        text = await response.text()
    assert 'pyworker_gateway_answers_total{endpoint="default",status="200"} 1.0' in text


async def _status(site: Site, path: str) -> int:
    async with site.http.post(site.base + path, json={}, headers=KEY) as response:
        await response.read()
        return response.status


async def _waiting(site: Site, count: int) -> None:
    """Until so many requests wait for a worker."""
    async with asyncio.timeout(10):
        while True:
            _, state = await site.engine.get("/state", headers=KEY)
            if state["endpoints"][0]["load"]["waiting_requests"] == count:
                return
            await asyncio.sleep(0.01)
