"""The client without ``async``: from one thread, from many, and closed in the middle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from pyworker.client import Event, sync
from pyworker.errors import CallFailed, EngineUnreachable, NoAnswerInTime, NotFound, SessionGone
from pyworker.testing import FakeRequest, answer, by_hand, free_port, stream
from tests.support.engines import API_KEY, ReportingWorker, a_fleet

PROMPT = {"prompt": "Hello"}
_T = TypeVar("_T")


async def in_a_thread(work: Callable[[str], _T], *behaviours: Callable[[ReportingWorker], object]) -> _T:
    """``work`` gets the address of an engine with one worker, and runs in this loop's thread pool."""
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"max_perf": 1e6})
        worker.on("/generate", worker.checked(answer({"response": "Hi"})))
        worker.on("/s", worker.checked(stream(["data: 1\n\n", "data: 2\n\n"])))
        worker.on("/session/create", worker.checked(answer({"session_id": "s", "expiration": 0}, status=201)))
        for behave in behaviours:
            behave(worker)
        return await asyncio.to_thread(work, engine.url)


async def test_it_has_all_that_the_other_has() -> None:
    def work(url: str) -> None:
        with sync.Client(url, API_KEY) as client:
            endpoint = client.endpoint("default")
            result = endpoint.request("/generate", PROMPT, cost=3)
            assert (result.status, result.json()) == (200, {"response": "Hi"})
            assert list(endpoint.stream("/s", PROMPT)) == [Event("1"), Event("2")]
            assert b"".join(endpoint.stream_bytes("/s", PROMPT)) == b"data: 1\n\ndata: 2\n\n"
            with endpoint.session() as session:
                assert session.request("/generate", PROMPT).ok
                assert [event.data for event in session.stream("/s", PROMPT)] == ["1", "2"]
            with pytest.raises(SessionGone):
                session.request("/generate", PROMPT)
            with pytest.raises(NotFound, match="there is default"):
                client.endpoint("nope")
        assert "pyworker-client" not in {thread.name for thread in threading.enumerate()}

    def no_ticket_in_sessions(worker: ReportingWorker) -> None:
        worker.on("/generate", answer({"response": "Hi"}))
        worker.on("/s", stream(["data: 1\n\n", "data: 2\n\n"]))

    await in_a_thread(work, no_ticket_in_sessions)


async def test_many_threads_may_use_one_client() -> None:
    def work(url: str) -> None:
        with sync.Client(url, API_KEY) as client, ThreadPoolExecutor(8) as pool:
            endpoint = client.endpoint("default")
            asked = [pool.submit(endpoint.request, "/generate", PROMPT) for _ in range(100)]
            results = [each.result() for each in asked]
        assert {result.status for result in results} == {200}
        assert len({result.request_idx for result in results}) == 100

    await in_a_thread(work)


async def test_a_stream_that_is_left_stops_the_work() -> None:
    gone: list[asyncio.Event] = []

    async def one_event(request: FakeRequest) -> None:
        gone.append(request.gone)
        await request.send("data: 1\n\n")
        await by_hand(request)

    def work(url: str) -> None:
        with sync.Client(url, API_KEY) as client:
            for event in client.endpoint("default").stream("/s", PROMPT):
                assert event == Event("1")
                break
            wait(gone[0])

    def wait(event: asyncio.Event) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(event.wait(), 10), loop).result()

    loop = asyncio.get_running_loop()
    await in_a_thread(work, lambda worker: worker.on("/s", one_event))


async def test_closing_it_ends_what_others_wait_for() -> None:
    begun = threading.Event()

    async def hang(request: FakeRequest) -> None:
        begun.set()
        await by_hand(request)

    def work(url: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            with sync.Client(url, API_KEY) as client:
                endpoint = client.endpoint("default")
                asked = pool.submit(endpoint.request, "/generate", PROMPT)
                assert begun.wait(10)
            with pytest.raises(CallFailed, match="closed before this call had its answer"):
                asked.result(10)
        with pytest.raises(CallFailed, match="within its `with`"):
            endpoint.request("/generate", PROMPT)
        with pytest.raises(CallFailed, match="make another one"), client:
            pass

    await in_a_thread(work, lambda worker: worker.on("/generate", hang))


async def test_errors_are_those_of_the_other() -> None:
    def work(url: str) -> None:
        with sync.Client(f"http://127.0.0.1:{free_port()}", API_KEY) as client, pytest.raises(EngineUnreachable):
            client.endpoint("default")
        with sync.Client(url, API_KEY) as client, pytest.raises(NoAnswerInTime, match=r"within 0\.3 s"):
            client.endpoint("default").request("/generate", PROMPT, timeout_s=0.3)

    await in_a_thread(work, lambda worker: worker.on("/generate", by_hand))


async def test_what_is_told_of_obstacles_may_not_call_itself() -> None:
    refused: list[str] = []

    def work(url: str) -> None:
        def ask_again(_: str) -> None:
            try:
                client.endpoint("default")
            except CallFailed as error:
                refused.append(str(error))

        client = sync.Client(url, API_KEY, on_obstacle=ask_again)
        with client:
            assert client.endpoint("default").request("/generate", PROMPT).ok
        assert ["cannot wait for itself" in each for each in refused] == [True]

    def busy_at_first(worker: ReportingWorker) -> None:
        worker.on("/generate", answer({}, status=502), answer({}))

    await in_a_thread(work, busy_at_first)


async def test_an_answer_may_be_looked_at_before_its_body() -> None:
    def work(url: str) -> None:
        with sync.Client(url, API_KEY) as client:
            endpoint = client.endpoint("default")
            with endpoint.open("/s", PROMPT) as opened:
                assert (opened.status, opened.ok) == (200, True)
                assert list(opened.events()) == [Event("1"), Event("2")]
            with endpoint.open("/generate", PROMPT) as opened:
                assert opened.read() == b'{"response":"Hi"}'
            with endpoint.open("/generate", PROMPT) as opened:
                assert b"".join(opened.chunks()) == b'{"response":"Hi"}'
            session = endpoint.open_session()
            session.close()
            with pytest.raises(SessionGone):
                session.request("/generate", PROMPT)

    await in_a_thread(work)
