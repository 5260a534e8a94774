"""``Serverless`` over our client, with an engine of ours and workers that check every ticket."""

from __future__ import annotations

import pytest

from pyworker.client.serverless import Serverless
from pyworker.errors import BadRequest, ConfigurationError, NotFound
from pyworker.testing import answer, stream
from tests.support.engines import API_KEY, a_fleet


async def test_it_finds_an_endpoint_and_gets_answers_of_every_kind() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/json", worker.checked(answer({"x": 1})))
        worker.on("/binary", worker.checked(answer(b"\xff\xfe")))
        worker.on("/refuses", worker.checked(answer({"error": "no"}, status=422)))
        async with Serverless(api_key=API_KEY, autoscaler_url=engine.url) as client:
            endpoint = await client.get_endpoint(name="default")
            assert [(one.name, one.id) for one in await client.get_endpoints()] == [("default", endpoint.id)]
            result = await endpoint.request("/json", {"prompt": "Hello"}, cost=3)
            assert (result["ok"], result["status"], result["response"], result["url"]) == (
                True,
                200,
                {"x": 1},
                worker.url,
            )
            assert worker.requests[-1].json()["payload"] == {"prompt": "Hello"}
            assert worker.requests[-1].json()["auth_data"]["cost"] == 3
            assert (await endpoint.request("/binary", {}))["response"] == b"\xff\xfe"
            refused = await endpoint.request("/refuses", {}, stream=True)
            assert (refused["ok"], refused["status"], refused["response"]) == (False, 422, {"error": "no"})


async def test_a_stream_is_its_events() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/sse", worker.checked(stream(['data: {"t": 1}\n\n', ": comment\n\n", "data: [DONE]\n\n"])))
        worker.on("/lines", worker.checked(stream(['{"t": 1}\n', '{"t": 2}\n'])))
        async with Serverless(API_KEY, autoscaler_url=engine.url, webserver_url=engine.url) as client:
            endpoint = await client.get_endpoint("default")
            result = await endpoint.request("/sse", {}, stream=True)
            assert [event async for event in result["response"]] == [{"t": 1}]
            result = await endpoint.request("/lines", {}, stream=True)
            assert [event async for event in result["response"]] == [{"t": 1}, {"t": 2}]


async def test_the_environment_says_which_engine_and_which_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_fleet() as (engine, _):
        monkeypatch.setenv("PYWORKER_ENGINE", engine.url)
        monkeypatch.setenv("PYWORKER_API_KEY", API_KEY)
        async with Serverless() as client:
            with pytest.raises(NotFound, match="Endpoint nope could not be found; there is default"):
                await client.get_endpoint("nope")


async def test_what_it_has_not_got_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYWORKER_API_KEY", "VAST_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadRequest, match="no API key"):
        Serverless()
    with pytest.raises(ConfigurationError, match="did you mean 'autoscaler_url'"):
        Serverless("key", autoscaler_ulr="http://127.0.0.1:8080")
    client = Serverless("key")
    with pytest.raises(AttributeError, match="no 'create_endpoint': the package vastai has it"):
        await client.create_endpoint()
