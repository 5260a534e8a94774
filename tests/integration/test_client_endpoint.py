"""An endpoint as the client has it: results, events, trying again, hedging, and bad days, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pyworker.client import Client, Endpoint, Event, Hedge, Retry
from pyworker.errors import (
    AnsweredWithError,
    BadRequest,
    CallFailed,
    EngineRefused,
    EngineUnreachable,
    NoAnswerInTime,
    NotFound,
    WorkerUnreachable,
)
from pyworker.testing import Behaviour, FakeRequest, FakeServer, answer, by_hand, drop, free_port, stream
from pyworker.wire import parse_auth_header
from tests.support.engines import API_KEY, EngineUnderTest, Fleet, ReportingWorker, a_fleet, an_engine
from tests.support.workers.rig import until

PROMPT = {"prompt": "Hello"}
HELLO = answer({"response": "Hi"})


@asynccontextmanager
async def an_endpoint(**kwargs: Any) -> AsyncGenerator[tuple[Endpoint, Fleet, EngineUnderTest]]:
    """Of a client of an engine, whose workers join later."""
    async with a_fleet() as (engine, fleet), Client(engine.url, API_KEY, timeout_s=20.0) as client:
        yield await client.endpoint("default", **kwargs), fleet, engine


async def begun(worker: FakeServer, path: str = "/generate") -> FakeRequest:
    """The next request there."""
    return await worker.requests.where(lambda request: request.path == path)


def generated(*workers: ReportingWorker) -> list[FakeRequest]:
    return [request for worker in workers for request in worker.requests if request.path == "/generate"]


# --- what a request is ---


async def test_a_request_gives_its_whole_answer_and_how_long_that_took() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", worker.checked(answer({"response": "Hi"}, status=201, headers={"X-Seed": "7"})))
        result = await endpoint.request("/generate", PROMPT, cost=42)
        assert (result.status, result.ok, result.json(), result.worker_url) == (
            201,
            True,
            {"response": "Hi"},
            worker.url,
        )
        assert result.headers["x-seed"] == "7"
        sent = generated(worker)[0].json()
        assert (sent["payload"], sent["auth_data"]["cost"]) == (PROMPT, 42)
        assert sent["auth_data"]["request_idx"] == result.request_idx
        times = result.timings
        assert 0 <= times.waited_s <= times.first_byte_s <= times.total_s


async def test_an_error_of_the_model_is_a_result_until_it_is_asked_not_to_be() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "no such adapter"}, status=422))
        result = await endpoint.request("/generate", PROMPT)
        assert (result.status, result.ok) == (422, False)
        with pytest.raises(AnsweredWithError, match=r"422.*no such adapter"):
            result.require_ok()
        worker.on("/generate", HELLO)
        assert (await endpoint.request("/generate", PROMPT)).require_ok().text == '{"response":"Hi"}'


async def test_any_method_and_body_go_as_they_are_with_the_proof_beside_them() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/models", HELLO)
        worker.on("/image", HELLO)
        await endpoint.request("/models", method="GET")
        await endpoint.request("/image", body=b"\xff\xd8", headers={"Content-Type": "image/jpeg"})
        got, put = worker.requests[-2:]
        assert (got.method, got.body, put.method, put.body) == ("GET", b"", "POST", b"\xff\xd8")
        assert put.headers["Content-Type"] == "image/jpeg"
        assert parse_auth_header(put.headers["X-Auth-Data"])[0].url == worker.url


async def test_what_cannot_be_sent_is_told_before_anything_is() -> None:
    async with an_endpoint() as (endpoint, _, _engine):
        with pytest.raises(BadRequest, match="GET /x: give a payload, or a body"):
            await endpoint.request("/x", PROMPT, method="get")
        with pytest.raises(BadRequest, match="POST /x: give a payload, or a body"):
            await endpoint.request("/x", PROMPT, body=b"x")


# --- which endpoint ---


async def test_an_endpoint_that_is_not_there_is_told_with_those_that_are() -> None:
    async with an_engine() as engine, Client(engine.url, API_KEY) as client:
        with pytest.raises(NotFound, match="there is no endpoint 'nope'; there is default"):
            await client.endpoint("nope")


async def test_an_endpoints_own_key_need_not_list_it() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", worker.checked(HELLO))
        _, listed = await engine.get("/api/v0/endptjobs/", headers={"Authorization": f"Bearer {API_KEY}"})
        async with Client(engine.url, listed["results"][0]["api_key"]) as client:
            assert (await (await client.endpoint("default")).request("/generate", PROMPT)).ok


async def test_no_engine_at_all_is_told_at_once() -> None:
    async with Client(f"http://127.0.0.1:{free_port()}", API_KEY) as client:
        with pytest.raises(EngineUnreachable, match="start one with `pyworker engine`"):
            await client.endpoint("default")


# --- streams ---


async def test_events_come_one_by_one_and_the_end_is_none_of_them() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/s", stream(['data: {"t": 1}\n\n: quiet\n\nevent: x\nda', "ta: 2\n\n", "data: [DONE]\n\n"]))
        assert [event async for event in endpoint.stream("/s", PROMPT)] == [Event('{"t": 1}'), Event("2", "x")]
        worker.on("/lines", stream(['{"t": 1}\n{"t"', ": 2}"], headers={"Content-Type": "application/x-ndjson"}))
        assert [event.json()["t"] async for event in endpoint.stream("/lines", PROMPT)] == [1, 2]
        worker.on("/bytes", stream([b"\xff", b"\x00" * 3]))
        assert b"".join([piece async for piece in endpoint.stream_bytes("/bytes", PROMPT)]) == b"\xff\x00\x00\x00"


async def test_a_stream_that_is_left_stops_the_work() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", by_hand)

        async def first() -> Event | None:
            async for event in endpoint.stream("/generate", PROMPT):
                return event
            return None

        reading = asyncio.create_task(first())
        request = await begun(worker)
        await request.send("data: one\n\n")
        assert await reading == Event("one")
        await asyncio.wait_for(request.gone.wait(), 10)


async def test_a_stream_of_an_error_raises_it() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "too long"}, status=413))
        for read in (endpoint.stream, endpoint.stream_bytes):
            with pytest.raises(AnsweredWithError, match=r"413.*too long"):
                await anext(read("/generate", PROMPT))


async def test_a_worker_that_goes_in_mid_stream_is_an_error_after_what_came() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", drop(["data: one\n\n", "data: tw"]))
        got: list[Event] = []
        with pytest.raises(WorkerUnreachable, match=f"{worker.url} broke off"):
            got.extend([event async for event in _kept(endpoint, got)])
        assert got == [Event("one")]
        assert len(generated(worker)) == 1


async def _kept(endpoint: Endpoint, got: list[Event]) -> AsyncGenerator[Event]:
    async for event in endpoint.stream("/generate", PROMPT):
        got.append(event)
        yield event


async def test_a_slow_reader_slows_the_worker_down_and_gets_everything() -> None:
    chunk, count = b"x" * 65536, 400
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", stream([chunk] * count))
        pieces = endpoint.stream_bytes("/generate", PROMPT)
        got = len(await anext(pieces))
        request = await begun(worker)
        sent = -1
        while sent != request.sent_bytes:  # until it can send no more
            sent = request.sent_bytes
            await asyncio.sleep(0.2)
        assert sent < len(chunk) * count
        assert got + sum([len(piece) async for piece in pieces]) == len(chunk) * count


# --- trying again ---


async def two(fleet: Fleet, first: Behaviour) -> tuple[ReportingWorker, ReportingWorker]:
    """Two workers; the request goes to the first one first."""
    chosen, other = await fleet.join(report={"max_perf": 1000.0}), await fleet.join()
    chosen.on("/generate", first)
    other.on("/generate", other.checked(HELLO))
    return chosen, other


@pytest.mark.parametrize("status", [502, 504])
async def test_a_failed_gateway_is_tried_elsewhere_as_a_new_request(status: int) -> None:
    async with an_endpoint() as (endpoint, fleet, _):

        async def fails(request: FakeRequest) -> None:
            await chosen.report(state="error", error_msg="the model crashed")
            await request.answer({}, status=status)

        chosen, other = await two(fleet, fails)
        assert (await endpoint.request("/generate", PROMPT)).json() == {"response": "Hi"}
        first, second = (request.json()["auth_data"]["request_idx"] for request in generated(chosen, other))
        assert first != second


async def test_a_worker_that_goes_before_its_answer_is_left_for_another() -> None:
    async with an_endpoint() as (endpoint, fleet, _):

        async def goes(_: FakeRequest) -> None:
            await chosen.stop_listening()

        chosen, _other = await two(fleet, goes)
        assert (await endpoint.request("/generate", PROMPT)).json() == {"response": "Hi"}


async def test_a_failure_of_the_model_is_final_unless_it_is_said_otherwise() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "cuda"}, status=500))
        assert (await endpoint.request("/generate", PROMPT)).status == 500
        assert len(generated(worker)) == 1


async def test_tries_are_bounded_and_the_last_answer_is_the_result() -> None:
    async with an_endpoint(retry=Retry(1, frozenset({500}))) as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "cuda"}, status=500))
        assert (await endpoint.request("/generate", PROMPT)).status == 500
        assert len(generated(worker)) == 2


async def test_the_deadline_is_for_all_of_a_request() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", by_hand)
        calling = asyncio.create_task(endpoint.request("/generate", PROMPT, timeout_s=0.5))
        request = await begun(worker)
        await request.send("half of it")
        with pytest.raises(NoAnswerInTime, match=r"within 0\.5 s.*has begun and did not end"):
            await calling
        await asyncio.wait_for(request.gone.wait(), 10)


async def test_cancelling_a_call_cancels_the_work() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join()
        worker.on("/generate", by_hand)
        calling = asyncio.create_task(endpoint.request("/generate", PROMPT))
        request = await begun(worker)
        calling.cancel()
        await asyncio.wait_for(request.gone.wait(), 10)
        with pytest.raises(asyncio.CancelledError):
            await calling


# --- hedging ---

AT_ONCE = Hedge(after_s=0.01, share=1.0)


async def test_a_slow_worker_is_overtaken_by_another_and_let_go() -> None:
    async with an_endpoint(hedge=AT_ONCE) as (endpoint, fleet, _):
        slow, quick = await two(fleet, by_hand)
        result = await endpoint.request("/generate", PROMPT)
        assert (result.worker_url, result.json()) == (quick.url, {"response": "Hi"})
        await asyncio.wait_for((await begun(slow)).gone.wait(), 10)


async def test_the_hedge_is_let_go_when_the_first_is_quicker_after_all() -> None:
    async with an_endpoint(hedge=AT_ONCE) as (endpoint, fleet, _):
        first, second = await two(fleet, by_hand)
        second.on("/generate", by_hand)
        calling = asyncio.create_task(endpoint.request("/generate", PROMPT))
        hedge = await begun(second)
        await (await begun(first)).answer({"response": "at last"})
        assert (await calling).json() == {"response": "at last"}
        await asyncio.wait_for(hedge.gone.wait(), 10)


async def test_cancelling_a_hedged_call_cancels_both() -> None:
    async with an_endpoint(hedge=AT_ONCE) as (endpoint, fleet, _):
        workers = await two(fleet, by_hand)
        workers[1].on("/generate", by_hand)
        calling = asyncio.create_task(endpoint.request("/generate", PROMPT))
        requests = [await begun(worker) for worker in workers]
        calling.cancel()
        for request in requests:
            await asyncio.wait_for(request.gone.wait(), 10)


async def test_a_budget_that_is_spent_sends_nothing_twice() -> None:
    async with an_endpoint(hedge=Hedge(after_s=0.001, share=0.05)) as (endpoint, fleet, _):
        first, second = await two(fleet, by_hand)
        calling = asyncio.create_task(endpoint.request("/generate", PROMPT))
        request = await begun(first)
        await asyncio.wait([calling], timeout=0.1)
        await request.answer({})
        assert (await calling).worker_url == first.url
        assert generated(second) == []


async def test_a_hedge_goes_to_another_worker_or_nowhere() -> None:
    async with an_endpoint(hedge=AT_ONCE) as (endpoint, fleet, _):
        only = await fleet.join(report={"max_perf": 1e6})
        only.on("/generate", by_hand)
        calling = asyncio.create_task(endpoint.request("/generate", PROMPT))
        request = await begun(only)
        await asyncio.wait([calling], timeout=0.2)
        await request.answer({"response": "Hi"})
        assert (await calling).ok
        assert len(generated(only)) == 1


# --- many at once ---


async def test_many_requests_of_one_moment_ask_for_their_workers_together() -> None:
    async with a_fleet() as (engine, fleet), _front(engine) as (front, paths), Client(front.url, API_KEY) as client:
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(HELLO))
        endpoint = await client.endpoint("default")
        results = await asyncio.gather(*(endpoint.request("/generate", PROMPT) for _ in range(100)))
        assert {result.status for result in results} == {200}
        assert len({result.request_idx for result in results}) == 100
        assert paths.count("/routes/") == 2
        assert "/route/" not in paths


async def test_those_of_many_for_whom_there_is_no_worker_yet_are_held() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        calls = [asyncio.create_task(endpoint.request("/generate", PROMPT)) for _ in range(5)]
        await asyncio.wait(calls, timeout=0.3)
        worker = await fleet.join()
        worker.on("/generate", worker.checked(HELLO))
        assert {result.status for result in await asyncio.gather(*calls)} == {200}


@pytest.mark.parametrize("status", [404, 405])
async def test_an_engine_that_does_not_know_of_that_is_asked_for_each(status: int) -> None:
    async with a_fleet() as (engine, fleet), _front(engine, {"/routes/": status}) as (front, paths):
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(HELLO))
        async with Client(front.url, API_KEY) as client:
            endpoint = await client.endpoint("default")
            for _ in range(2):
                results = await asyncio.gather(*(endpoint.request("/generate", PROMPT) for _ in range(5)))
                assert {result.status for result in results} == {200}
        assert (paths.count("/routes/"), paths.count("/route/")) == (1, 10)


async def test_what_the_engine_refuses_of_many_is_told_to_each_in_its_words() -> None:
    async with an_endpoint() as (endpoint, fleet, _):
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(HELLO))
        asked = [endpoint.request("/generate", PROMPT, cost=cost) for cost in (1, -1, 2)]
        good, refused, also_good = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(refused, EngineRefused)
        assert "cost must be" in str(refused)
        assert not isinstance(good, BaseException)
        assert not isinstance(also_good, BaseException)


@asynccontextmanager
async def _front(
    engine: EngineUnderTest, refused: dict[str, int] | None = None
) -> AsyncGenerator[tuple[FakeServer, list[str]]]:
    """An engine's front that writes down what is asked, and refuses some of it."""
    paths: list[str] = []

    async def pass_on(request: FakeRequest) -> None:
        paths.append(request.path)
        if request.path in (refused or {}):
            await request.answer({"error": "not here"}, status=(refused or {})[request.path])
            return
        headers = {"Authorization": request.headers["Authorization"]}
        async with engine.http.request(
            request.method, engine.url + request.path, data=request.body, headers=headers
        ) as response:
            await request.answer(await response.read(), status=response.status)

    async with FakeServer(default=pass_on) as front:
        yield front, paths


# --- bad days ---


async def test_an_engine_that_goes_in_mid_run_is_waited_for_and_then_named() -> None:
    async with a_fleet() as (engine, fleet), _front(engine) as (front, _):
        worker = await fleet.join()
        worker.on("/generate", worker.checked(HELLO))
        async with Client(front.url, API_KEY) as client:
            endpoint = await client.endpoint("default")
            assert (await endpoint.request("/generate", PROMPT)).ok
            await front.stop_listening()
            with pytest.raises(NoAnswerInTime, match="no engine answers at"):
                await endpoint.request("/generate", PROMPT, timeout_s=1.0)
            await front.listen()
            assert (await endpoint.request("/generate", PROMPT)).ok


async def test_a_key_that_is_revoked_ends_the_next_call_in_the_engines_words() -> None:
    account = {"Authorization": f"Bearer {API_KEY}"}
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", worker.checked(HELLO))
        _, made = await engine.post("/api/v0/keys/", {"name": "mine"}, headers=account)
        async with Client(engine.url, made["api_key"]) as client:
            endpoint = await client.endpoint("default")
            assert (await endpoint.request("/generate", PROMPT)).ok
            async with engine.http.delete(f"{engine.url}/api/v0/keys/{made['id']}/", headers=account):
                pass
            with pytest.raises(EngineRefused) as refused:
                await endpoint.request("/generate", PROMPT)
            assert refused.value.answered_status == 401


async def test_a_key_that_is_revoked_ends_the_calls_that_are_held() -> None:
    account = {"Authorization": f"Bearer {API_KEY}"}
    heard: list[str] = []
    async with an_engine() as engine:
        _, made = await engine.post("/api/v0/keys/", {"name": "mine"}, headers=account)
        async with Client(engine.url, made["api_key"], on_obstacle=heard.append) as client:
            endpoint = await client.endpoint("default")
            calls = [asyncio.create_task(endpoint.request("/generate", PROMPT)) for _ in range(3)]
            await until(lambda: len(heard) >= 3)
            async with engine.http.delete(f"{engine.url}/api/v0/keys/{made['id']}/", headers=account) as response:
                assert response.status == 200
            for call in calls:
                with pytest.raises(EngineRefused, match="key"):
                    await call


async def test_an_endpoint_that_is_deleted_lets_those_who_are_held_know() -> None:
    heard: list[str] = []
    async with an_engine() as engine, Client(engine.url, API_KEY, on_obstacle=heard.append) as client:
        endpoint = await client.endpoint("default")
        calls = [asyncio.create_task(endpoint.request("/generate", PROMPT)) for _ in range(3)]
        await until(lambda: len(heard) >= 3)
        async with engine.http.delete(
            f"{engine.url}/api/v0/endptjobs/1/", headers={"Authorization": f"Bearer {API_KEY}"}
        ) as response:
            assert response.status == 200
        for call in calls:
            with pytest.raises(EngineRefused, match="default"):
                await call


async def test_closing_a_client_leaves_nothing_open() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", by_hand)
        async with Client(engine.url, API_KEY) as client:
            endpoint = await client.endpoint("default")
            pieces = endpoint.stream_bytes("/generate", PROMPT)
            reading = asyncio.create_task(anext(pieces))
            request = await begun(worker)
            await request.send("one")
            assert await reading == b"one"
        await asyncio.wait_for(request.gone.wait(), 10)
        with pytest.raises(WorkerUnreachable, match="broke off"):
            await anext(pieces)
        for late in (endpoint.request("/generate", PROMPT), client.endpoint("default")):
            with pytest.raises(CallFailed, match="within its `async with`"):
                await late


async def test_closing_a_client_ends_the_calls_that_are_under_way() -> None:
    async with a_fleet() as (engine, fleet):
        async with Client(engine.url, API_KEY) as client:
            endpoint = await client.endpoint("default")
            held = [asyncio.create_task(endpoint.request("/generate", PROMPT)) for _ in range(3)]
            await asyncio.wait(held, timeout=0.2)
            worker = await fleet.join()
            worker.on("/generate", by_hand)
            await begun(worker)
        for call in held:
            with pytest.raises(CallFailed):
                await asyncio.wait_for(call, 10)
