"""What an answer says of its own workload: booked, reported, learned from, and measured in the same unit."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyworker import PassThroughHandler
from pyworker.testing import answer, by_hand, drop, stream
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.workers.handlers import payload, requested_tokens
from tests.support.workers.rig import Rig, a_worker, until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(30)]

ROUTES = {"the fast lane": ("/generate", "/generate"), "aiohttp": ("/{what}", "/generate")}


def tokens_used(last_bytes: bytes) -> float | None:
    """The number behind the last ``used`` of an answer."""
    numbers = re.findall(rb'"used": ?([\d.]+)', last_bytes)
    return float(numbers[-1]) if numbers else None


def counting(count: Callable[[bytes], Any] = tokens_used, endpoint: str = "/generate", **given: Any) -> Any:
    return PassThroughHandler(endpoint, workload_calculator=requested_tokens, answer_workload=count, **given)


def used(tokens: float, **more: Any) -> dict[str, Any]:
    return {**more, "used": tokens}


def received(rig: Rig) -> float:
    return rig.runtime.books.ledger.received.workload


async def bad_workloads(rig: Rig) -> str:
    lines = (await rig.send("GET", "/pyworker/metrics")).body.decode().splitlines()
    return next(line for line in lines if line.startswith("pyworker_bad_workloads_total")).split()[1]


@pytest.mark.parametrize(("endpoint", "path"), ROUTES.values(), ids=ROUTES.keys())
async def test_a_request_ends_in_the_books_at_what_its_answer_says(tmp_path: Path, endpoint: str, path: str) -> None:
    async with a_worker(tmp_path, counting(endpoint=endpoint)) as rig:
        rig.model.on("/generate", answer(used(7)))
        got = await rig.post(path, payload(tokens=1000))
        assert (got.status, got.json()) == (200, {"used": 7})
        await rig.settled(served=1)
        assert received(rig) == 7.0
        assert (await rig.engine.reports.where(lambda report: report.cur_perf)).cur_perf == 7.0


@pytest.mark.parametrize(("endpoint", "path"), ROUTES.values(), ids=ROUTES.keys())
async def test_the_end_of_a_long_stream_is_what_counts(tmp_path: Path, endpoint: str, path: str) -> None:
    """The function sees 64 KiB at most; the client gets all of it."""
    seen: list[int] = []

    def count(last_bytes: bytes) -> float | None:
        seen.append(len(last_bytes))
        return tokens_used(last_bytes)

    pieces = [b"x" * 50_000] * 6 + [json.dumps(used(42)).encode()]
    async with a_worker(tmp_path, counting(count, endpoint)) as rig:
        rig.model.on("/generate", stream(pieces))
        assert (await rig.post(path, payload(tokens=5))).body == b"".join(pieces)
        await rig.settled(served=1)
        assert (received(rig), seen) == (42.0, [64 * 1024])


async def test_while_it_is_in_flight_the_estimate_is_booked(tmp_path: Path) -> None:
    async with a_worker(tmp_path, counting()) as rig:
        rig.model.on("/generate", by_hand)
        calling = rig.begin("/generate", payload(tokens=1000))
        held = await rig.model.requests.next()
        assert rig.runtime.books.ledger.in_flight_workload == 1000.0
        await held.answer(used(1))
        await calling
        await rig.settled(served=1)


async def test_later_requests_are_estimated_by_what_earlier_ones_were(tmp_path: Path) -> None:
    """A client that allows 1000 tokens and gets 10 does not make others wait for 1000."""
    async with a_worker(tmp_path, counting()) as rig:
        rig.model.on("/generate", answer(used(10)), by_hand)
        await rig.post("/generate", payload(tokens=1000))
        await rig.settled(served=1)
        calling = rig.begin("/generate", payload(tokens=500))
        held = (await rig.model.requests.at_least(2))[1]
        assert rig.runtime.books.ledger.in_flight_workload == 5.0
        await held.answer({})  # which says nothing: the estimate stands
        await calling
        await rig.settled(served=2)
        assert received(rig) == 15.0


def raising(_: bytes) -> float:
    raise KeyError("usage")


@pytest.mark.parametrize("count", [raising, lambda _: math.nan, lambda _: -1.0, lambda _: "many"])
async def test_a_count_that_cannot_be_booked_is_logged_and_counted_and_the_estimate_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: Callable[[bytes], Any]
) -> None:
    async with a_worker(tmp_path, counting(count)) as rig:
        assert (await rig.post("/generate", payload(tokens=30))).status == 200
        await rig.settled(served=1)
        assert (received(rig), await bad_workloads(rig)) == (30.0, "1.0")
    assert "answer_workload of /generate" in caplog.text


async def test_an_answer_that_says_nothing_is_no_fault(tmp_path: Path) -> None:
    async with a_worker(tmp_path, counting(lambda _: None)) as rig:
        await rig.post("/generate", payload(tokens=30))
        await rig.settled(served=1)
        assert (received(rig), await bad_workloads(rig)) == (30.0, "0.0")


@pytest.mark.parametrize(
    "behaviour",
    [answer(used(5), status=500), answer(used(5), status=422), drop([json.dumps(used(5))])],
    ids=["500", "422", "broken off"],
)
async def test_only_an_answer_that_is_good_and_whole_is_counted(tmp_path: Path, behaviour: Any) -> None:
    async with a_worker(tmp_path, counting()) as rig:
        rig.model.on("/generate", behaviour)
        response = await rig.open("/generate", payload(tokens=30))
        await asyncio.gather(response.read(), return_exceptions=True)
        await rig.settled(errored=1)
        assert received(rig) == 30.0


async def test_a_client_that_leaves_is_booked_at_the_estimate(tmp_path: Path) -> None:
    async with a_worker(tmp_path, counting()) as rig:
        rig.model.on("/generate", by_hand)
        response = asyncio.create_task(rig.open("/generate", payload(tokens=30)))
        held = await rig.model.requests.next()
        await held.send(json.dumps(used(5)))
        (await response).close()
        await rig.settled(cancelled=1)
        assert received(rig) == 30.0


async def test_the_model_is_not_asked_to_compress_what_is_read(tmp_path: Path) -> None:
    """And an answer that comes compressed all the same passes, at its estimate."""
    async with a_worker(tmp_path, counting()) as rig:
        rig.model.on("/generate", answer(used(5), gzip=True))
        got = await rig.post("/generate", payload(tokens=30), headers={"Accept-Encoding": "gzip"})
        assert (got.status, got.headers["Content-Encoding"]) == (200, "gzip")
        await rig.settled(served=1)
        assert "Accept-Encoding" not in rig.model.requests[0].headers
        assert (received(rig), await bad_workloads(rig)) == (30.0, "0.0")


async def test_the_benchmark_is_counted_by_its_answers_too(tmp_path: Path) -> None:
    """Else a worker whose answers are shorter than allowed would be thought to be as many times faster."""
    capacities: list[float] = []
    for tokens, number in ((10, 0), (100_000, 1)):
        handler = counting(benchmark_payload=lambda: payload(tokens=1000), benchmark_runs=1, concurrency=2)
        async with a_worker(tmp_path / str(number), handler, benchmark_handler=handler, wait=False) as rig:
            rig.model.on("/generate", answer(used(tokens)))
            await rig.ready()
            capacities.append(rig.runtime.books.ledger.capacity_per_s)
    assert capacities[1] > 100 * capacities[0]  # of 10,000 times the work


async def test_capacity_that_is_learned_is_learned_from_answers(tmp_path: Path) -> None:
    async with a_worker(tmp_path, counting(), fixed_throughput=None) as rig:
        rig.model.on("/generate", answer(used(0)))
        await rig.post("/generate", payload(tokens=1_000_000))
        await rig.settled(served=1)
        assert rig.runtime.books.ledger.capacity_per_s == 0.0


async def test_the_metric_of_what_was_received_never_falls(tmp_path: Path) -> None:
    """Prometheus would take it for a restart."""

    async def shown() -> float:
        page = (await rig.send("GET", "/pyworker/metrics")).body.decode()
        line = next(line for line in page.splitlines() if line.startswith("pyworker_workload_received_total"))
        return float(line.split()[1])

    async with a_worker(tmp_path, counting()) as rig:
        rig.model.on("/generate", by_hand)
        calling = rig.begin("/generate", payload(tokens=1000))
        held = await rig.model.requests.next()
        before = await shown()
        await held.answer(used(1))
        await calling
        await rig.settled(served=1)
        assert (before, await shown(), received(rig)) == (1000.0, 1000.0, 1.0)


# --- bodies without an envelope --------------------------------------------------------------------


def proof(rig: Rig) -> str:
    return dump_auth_header(parse_auth_data(rig.auth()))


async def test_a_json_body_behind_a_proof_is_counted_and_passed_on_as_it_is(tmp_path: Path) -> None:
    body = b'{"prompt": "\\u0041", "max_response_tokens": 12, "more": [1, 2]}'
    async with a_worker(tmp_path, counting(), mode=Mode.TICKET) as rig:
        headers = {"Content-Type": "application/json", "X-Auth-Data": proof(rig)}
        assert (await rig.send("POST", "/generate", data=body, headers=headers)).status == 200
        await rig.settled(served=1)
        assert (received(rig), rig.model.requests[0].body) == (12.0, body)
        assert rig.model.requests[0].headers["Content-Type"] == "application/json"


async def test_a_body_that_is_not_what_it_says_is_the_models_to_judge(tmp_path: Path) -> None:
    async with a_worker(tmp_path, counting(), mode=Mode.TICKET) as rig:
        rig.model.on("/generate", answer({"error": "no JSON"}, status=400))
        headers = {"Content-Type": "application/json", "X-Auth-Data": proof(rig)}
        assert (await rig.send("POST", "/generate", data=b"[1", headers=headers)).status == 400
        await rig.settled(errored=1)
        assert (received(rig), await bad_workloads(rig)) == (100.0, "0.0")


async def test_without_signatures_a_payload_needs_nothing_around_it(tmp_path: Path) -> None:
    async with a_worker(tmp_path, counting()) as rig:
        body = json.dumps(payload(tokens=12)).encode()
        headers = {"Content-Type": "application/json"}
        assert (await rig.send("POST", "/generate", data=body, headers=headers)).status == 200
        await rig.settled(served=1)
        assert (received(rig), rig.model.requests[0].body) == (12.0, body)


@pytest.mark.parametrize("body", [{}, {"auth_data": {}}, {"payload": payload()}, {"session_id": "s"}, [], "x"])
async def test_what_looks_like_an_envelope_is_held_to_be_one(tmp_path: Path, body: Any) -> None:
    async with a_worker(tmp_path, counting()) as rig:
        assert (await rig.send("POST", "/generate", json=body)).status == 422
        assert not rig.model.requests


@pytest.mark.parametrize("mode", [Mode.TICKET, Mode.SIGNATURE])
async def test_with_signatures_a_payload_alone_is_no_request(tmp_path: Path, mode: Mode) -> None:
    async with a_worker(tmp_path, counting(), mode=mode) as rig:
        got = await rig.send("POST", "/generate", json=payload())
        assert (got.status, set(got.json())) == (422, {"auth_data", "payload"})
        await until(lambda: not rig.model.requests)
