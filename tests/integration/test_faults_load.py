"""Faults of the field, 39 and 40: many at once, and connections that end in the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pyworker.testing import FakeModel, answer, by_hand, drop, drop_if_reused
from pyworker.wire import dump_auth_header, parse_auth_data
from tests.support.workers.handlers import pass_generate, payload
from tests.support.workers.kinds import Kind, every_kind, every_stream
from tests.support.workers.rig import Rig, a_worker


@every_kind
async def test_150_requests_are_at_the_model_at_once(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 39: and its health check does not wait behind them."""
    monkeypatch.setattr("pyworker.worker.warm_up.HEALTH_INTERVAL_S", 0.05)
    async with a_worker(tmp_path, kind(), healthcheck_url="/health") as rig:
        rig.model.on("/generate", by_hand)
        calls = [rig.begin("/generate", payload(str(number))) for number in range(150)]
        held = await rig.model.requests.at_least(150)
        rig.model.health_checks.clear()
        await rig.model.health_checks.next()
        async with asyncio.TaskGroup() as tasks:
            for request in held:
                tasks.create_task(request.answer({"text": request.json()["prompt"]}))
        answers = [await call for call in calls]
        assert [answered.json() for answered in answers] == [{"text": str(number)} for number in range(150)]
        await rig.settled(served=150)


@every_stream
async def test_150_streams_run_beside_each_other(tmp_path: Path, kind: Kind) -> None:
    """Fault 39: each gets its own pieces, in order."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate_stream", by_hand)
        calls = [rig.begin("/generate_stream", payload(str(number))) for number in range(150)]
        held = await rig.model.requests.at_least(150)
        for piece in ("a", "b", "c"):
            for request in held:
                await request.send(f"{request.json()['prompt']}{piece} ")
        for request in held:
            await request.end()
        bodies = [(await call).body.decode() for call in calls]
        assert bodies == [f"{number}a {number}b {number}c " for number in range(150)]
        await rig.settled(served=150)


@every_kind
async def test_connections_to_the_model_are_used_again(tmp_path: Path, kind: Kind) -> None:
    """Fault 39's other side: not a new one for each request."""
    async with a_worker(tmp_path, kind()) as rig:
        for _ in range(5):
            assert (await rig.post("/generate", payload())).status == 200
        assert len({request.connection for request in rig.model.requests}) == 1


@every_kind
async def test_a_connection_that_the_model_closes_as_it_is_used_again_costs_nobody_an_answer(
    tmp_path: Path, kind: Kind
) -> None:
    """Fault 40: before any byte of the answer, so the request is sent once more."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate", drop_if_reused(answer({"text": "hello"})))
        for _ in range(5):
            assert (await rig.post("/generate", payload())).status == 200
        await rig.settled(served=5)


@every_kind
async def test_connections_that_the_model_closed_while_idle_are_not_used(tmp_path: Path, kind: Kind) -> None:
    """Fault 40."""
    async with a_worker(tmp_path, kind()) as rig:
        for _ in range(3):
            assert (await rig.post("/generate", payload())).status == 200
            rig.model.close_idle()
        assert len(rig.model.requests) == 3
        await rig.settled(served=3)


@every_kind
async def test_a_connection_is_let_go_before_the_model_closes_it(tmp_path: Path, kind: Kind) -> None:
    """Fault 40: a second before the ``Keep-Alive: timeout`` that it names is over, so here at once."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate", answer({}, headers={"Keep-Alive": "timeout=1"}))
        for _ in range(3):
            assert (await rig.post("/generate", payload())).status == 200
        assert len({request.connection for request in rig.model.requests}) == 3


@every_kind
async def test_a_request_is_sent_once_more_and_not_for_ever(tmp_path: Path, kind: Kind) -> None:
    """Fault 40: and never when the connection was new."""
    async with a_worker(tmp_path, kind()) as rig:
        assert (await rig.post("/generate", payload())).status == 200
        rig.model.on("/generate", drop())
        assert (await rig.post("/generate", payload())).status == 502
        assert len(rig.model.requests) == 3
        assert (await rig.post("/generate", payload())).status == 502
        assert len(rig.model.requests) == 4
        await rig.settled(served=1, errored=2)


async def upload(rig: Rig, pieces: list[bytes]) -> int:
    """POST a body as a stream: the status of the answer."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    headers = {"X-Auth-Data": dump_auth_header(parse_auth_data(rig.auth())), "Content-Type": "image/png"}
    return (await rig.send("POST", "/generate", data=stream(), headers=headers)).status


async def test_a_body_that_streams_through_meets_no_connection_about_to_close(tmp_path: Path) -> None:
    """Fault 40: it cannot be sent once more, so it gets a connection of its own."""
    async with a_worker(tmp_path, pass_generate()) as rig:
        rig.model.on("/generate", drop_if_reused(answer({})))
        assert [await upload(rig, [b"one", b"two"]) for _ in range(3)] == [200] * 3
        assert [request.body for request in rig.model.requests] == [b"onetwo"] * 3
        await rig.settled(served=3)


async def test_a_model_that_answers_before_it_has_read_the_whole_body_is_heard(tmp_path: Path) -> None:
    """Fault 40's sister: a refusal of a large upload reaches the client."""

    async def too_large(request: object) -> None:
        await request.answer({"error": "too large"}, status=413)  # type: ignore[attr-defined]

    async with FakeModel(read_bodies=False) as model, a_worker(tmp_path, pass_generate(), model=model) as rig:
        model.on("/generate", too_large)
        assert await upload(rig, [b"x" * 100_000] * 20) == 413
        await rig.settled(errored=1)
