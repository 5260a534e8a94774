"""Faults of the field, 23 and 24: a client that goes away, wherever its request is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeModel, FakeRequest, answer, by_hand
from pyworker.wire import FinishedRequest, dump_auth_header, parse_auth_data
from pyworker.worker.core.ledger import Outcome
from tests.support.workers.handlers import GenerateStream, pass_generate, pass_stream, payload
from tests.support.workers.kinds import Kind, every_kind, every_stream
from tests.support.workers.rig import Rig, a_worker, until


async def told(rig: Rig, request_idx: int) -> FinishedRequest:
    """What the engine heard of a request."""
    return await rig.engine.finished.where(lambda request: request.request_idx == request_idx)


async def working(rig: Rig, requests: int) -> None:
    """Wait until so many requests have been received and not settled."""
    await until(lambda: rig.runtime.books.ledger.in_flight_count == requests)


@every_kind
async def test_a_client_that_leaves_while_queued_gives_its_place_up(tmp_path: Path, kind: Kind) -> None:
    """Fault 23: the model never hears of it."""
    async with a_worker(tmp_path, kind(), allow_parallel_requests=False) as rig:
        rig.model.on("/generate", by_hand, answer({}))
        first = rig.begin("/generate", payload())
        held = await rig.model.requests.next()
        second = rig.begin("/generate", payload("impatient"), auth=rig.auth(request_idx=77))
        await working(rig, 2)
        third = rig.begin("/generate", payload())
        await working(rig, 3)
        second.cancel()
        await working(rig, 2)
        await held.answer({})
        assert [(await call).status for call in (first, third)] == [200, 200]
        assert len(rig.model.requests) == 2
        await rig.settled(served=2, cancelled=1)
        finished = await told(rig, 77)
        assert (finished.status, finished.success, finished.work_started_at) == ("Cancelled", True, None)


@every_kind
async def test_a_client_that_leaves_before_the_first_byte_stops_the_models_work(tmp_path: Path, kind: Kind) -> None:
    """Fault 23: and the slot is free for the next."""
    async with a_worker(tmp_path, kind(), allow_parallel_requests=False) as rig:
        rig.model.on("/generate", by_hand, answer({}))
        call = rig.begin("/generate", payload(), auth=rig.auth(request_idx=78))
        held = await rig.model.requests.next()
        call.cancel()
        await held.gone.wait()
        assert (await rig.post("/generate", payload())).status == 200
        await rig.settled(served=1, cancelled=1)
        assert (await told(rig, 78)).status == "Cancelled"


@every_stream
async def test_a_client_that_leaves_in_mid_stream_stops_the_models_work(tmp_path: Path, kind: Kind) -> None:
    """Fault 23."""
    async with a_worker(tmp_path, kind(), allow_parallel_requests=False) as rig:
        rig.model.on("/generate_stream", by_hand, answer({}))
        call = asyncio.create_task(rig.open("/generate_stream", payload()))
        held = await rig.model.requests.next()
        await held.send("data: one\n\n")
        response = await call
        assert await response.content.readany() == b"data: one\n\n"
        response.close()
        await held.gone.wait()
        assert (await rig.post("/generate_stream", payload())).status == 200
        await rig.settled(served=1, cancelled=1)


async def test_a_client_that_leaves_in_the_middle_of_its_upload_stops_the_models_work(tmp_path: Path) -> None:
    """Fault 23."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    async with (
        FakeModel(read_bodies=False, default=by_hand) as model,
        a_worker(tmp_path, pass_generate(), model=model) as rig,
    ):
        headers = {"X-Auth-Data": dump_auth_header(parse_auth_data(rig.auth()))}
        call = asyncio.create_task(rig.send("POST", "/generate", data=endless(), headers=headers))
        held = await model.requests.next()
        assert await held.read_some()
        call.cancel()
        await held.gone.wait()
        await rig.settled(cancelled=1)


async def test_a_model_is_not_read_faster_than_its_client_reads(tmp_path: Path) -> None:
    """Fault 23's sister: a slow client costs no memory, and nothing is lost."""
    whole = 80

    async def flood(request: FakeRequest) -> None:
        for _ in range(whole):
            await request.send(b"x" * 500_000)

    async with a_worker(tmp_path, pass_stream(), GenerateStream(route="/authored")) as rig:
        for path, requests in (("/generate_stream", 1), ("/authored", 2)):
            rig.model.on(path, flood)
            async with await rig.open(path, payload()) as response:
                sent = (await rig.model.requests.at_least(requests))[-1]
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(sent.ended.wait(), 0.2)
                assert sent.sent_bytes < whole * 500_000
                assert sum([len(piece) async for piece in response.content.iter_any()]) == whole * 500_000
        await rig.settled(served=2)


@every_kind
@pytest.mark.parametrize("leaves_first", [True, False])
async def test_a_client_that_leaves_in_the_moment_its_turn_comes_loses_no_slot(
    tmp_path: Path, kind: Kind, leaves_first: bool
) -> None:
    """Fault 24: with so many turns of the event loop between the one and the other."""
    async with a_worker(tmp_path, kind(), allow_parallel_requests=False) as rig:
        for spins in range(16):
            rig.model.requests.clear()
            rig.model.on("/generate", by_hand, answer({}))
            first = rig.begin("/generate", payload())
            held = await rig.model.requests.next()
            second = rig.begin("/generate", payload())
            await working(rig, 2)
            third = rig.begin("/generate", payload())
            await working(rig, 3)
            if leaves_first:
                second.cancel()
                await turns(spins)
                await held.answer({})
            else:
                await held.answer({})
                await turns(spins)
                second.cancel()
            assert [(await call).status for call in (first, third)] == [200, 200]
            await working(rig, 0)
        assert rig.runtime.books.ledger.imbalance() == 0
        assert rig.runtime.books.ledger.received.requests == 3 * 16


async def turns(spins: int) -> None:
    """Let the event loop turn so often."""
    for _ in range(spins):
        await asyncio.sleep(0)


@every_kind
async def test_a_worker_that_is_stopped_settles_what_waits_and_what_works(tmp_path: Path, kind: Kind) -> None:
    """Fault 24: the engine hears of all of them."""
    async with a_worker(tmp_path, kind(), allow_parallel_requests=False, settings={"drain_s": 0.05}) as rig:
        rig.model.on("/generate", by_hand)
        calls = [rig.begin("/generate", payload(), auth=rig.auth(request_idx=idx)) for idx in (1, 2, 3)]
        await working(rig, 3)
        ledger, finished = rig.runtime.books.ledger, rig.engine.finished
        await rig.model.requests.next()
        stopped = asyncio.create_task(until(lambda: not ledger.in_flight_count))
    await stopped
    assert ledger.imbalance() == 0
    assert ledger.received.requests == 3
    assert ledger.settled[Outcome.SERVED].requests == 0
    assert {request.request_idx for request in finished} == {1, 2, 3}
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, aiohttp.ClientError) or end.status >= 500 for end in ended)  # type: ignore[union-attr]
