"""Bodies of requests that nobody has vouched for yet: bounded each, bounded together, and not for ever."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gzip
import json
import os
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworker import intake as intake_module
from pyworker.errors import BadFraming
from pyworker.intake import Intake
from pyworker.testing import by_hand
from pyworker.worker.core.gate import Mode
from tests.support.raw_client import RawClient, connected
from tests.support.workers.handlers import Generate, pass_generate, payload
from tests.support.workers.rig import Rig, a_worker, until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(20)]

LIMIT_BYTES = 100_000
TOGETHER_BYTES = 150_000
JSON = {"Content-Type": "application/json"}
ZIPPED = gzip.compress(b'{"auth_data": {}}', mtime=0)


@pytest.fixture(params=["authored", "passed through"])
def way(request: pytest.FixtureRequest) -> str:
    """Which server reads the request: aiohttp's, or the fast lane."""
    return request.param


@asynccontextmanager
async def limited(tmp_path: Path, way: str = "authored", **given: Any) -> AsyncGenerator[Rig]:
    handler = Generate() if way == "authored" else pass_generate()
    settings = {"max_body_bytes": LIMIT_BYTES, "max_unauthenticated_bytes": TOGETHER_BYTES}
    async with a_worker(tmp_path, handler, settings=settings, **given) as rig:
        yield rig
        await until(lambda: intake(rig).held_bytes == 0, "nothing is held any more")


def intake(rig: Rig) -> Intake:
    return rig.runtime.proxy.entrance.intake


def body_of(rig: Rig, size_bytes: int = 0) -> bytes:
    """An envelope of exactly this size, or as small as it is."""
    message = json.dumps(rig.envelope(payload()))
    return (message[:-1] + " " * max(0, size_bytes - len(message)) + "}").encode()


def head(*headers: str, path: str = "/generate") -> str:
    lines = [f"POST {path} HTTP/1.1", "Host: w", "Content-Type: application/json", *headers]
    return "\r\n".join(lines) + "\r\n\r\n"


def with_length(size_bytes: int) -> str:
    return head(f"Content-Length: {size_bytes}")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- each -----------------------------------------------------------------------------------------


async def test_a_body_of_exactly_the_limit_is_taken(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig:
        answered = await rig.send("POST", "/generate", data=body_of(rig, LIMIT_BYTES), headers=JSON)
        assert answered.status == 200


async def test_a_larger_one_is_refused(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig:
        answered = await rig.send("POST", "/generate", data=body_of(rig, LIMIT_BYTES + 1), headers=JSON)
        assert answered.status == 413
        assert answered.json() == {"error": f"the body is larger than {LIMIT_BYTES} bytes"}
        await rig.settled()


@pytest.mark.parametrize("size_bytes", [LIMIT_BYTES + 1, 2 * 1024**3, 2**62])
async def test_one_that_says_so_is_refused_before_it_is_sent(tmp_path: Path, way: str, size_bytes: int) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        await client.send(with_length(size_bytes))
        assert (await client.answer()).status == 413
        await client.closed()


async def test_one_without_a_length_is_refused_when_it_becomes_too_large(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        await client.send(head("Transfer-Encoding: chunked"))
        for _ in range(LIMIT_BYTES // 10_000):
            await client.send(chunk(bytes(10_000)))
        await client.send(chunk(b"one more"))
        assert (await client.answer()).status == 413
        await client.closed()


async def test_one_without_a_length_is_taken(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        body = body_of(rig)
        await client.send(head("Transfer-Encoding: chunked"), *(chunk(body[i : i + 7]) for i in range(0, len(body), 7)))
        await client.send(b"0\r\n\r\n")
        assert (await client.answer()).status == 200


async def test_who_waits_for_a_word_before_he_sends_gets_one(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        body = body_of(rig)
        await client.send(head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert (await client.answer()).status == 100
        await client.send(body)
        assert (await client.answer()).status == 200


# --- together -------------------------------------------------------------------------------------


async def test_all_that_is_held_has_a_limit_too(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as one, connected(rig.worker.port) as two:
        for client in (one, two):
            await client.send(with_length(75_000), bytes(70_000))
        await until(lambda: intake(rig).held_bytes == 140_000, "both are held")
        answered = await rig.send("POST", "/generate", data=body_of(rig, 20_000), headers=JSON)
        assert (answered.status, answered.headers["Retry-After"]) == (413, "5")
        assert "try again" in answered.json()["error"]
        one.leave()
        await until(lambda: intake(rig).held_bytes == 70_000, "the first is gone")
        answered = await rig.send("POST", "/generate", data=body_of(rig, 20_000), headers=JSON)
        assert answered.status == 200


async def test_what_is_authenticated_is_not_held_any_more(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way, mode=Mode.SIGNATURE) as rig:
        rig.model.on("/generate", by_hand)
        asking = [rig.begin("/generate", payload("x" * 90_000)) for _ in range(5)]
        requests = await rig.model.requests.at_least(5)
        assert intake(rig).held_bytes == 0
        for request in requests:
            await request.answer({"text": "ok"})
        assert [(await one).status for one in asking] == [200] * 5


async def test_what_was_vouched_for_by_its_header_has_no_limit(tmp_path: Path) -> None:
    async with limited(tmp_path, "passed through", mode=Mode.TICKET) as rig:
        proof = base64.urlsafe_b64encode(json.dumps(rig.auth()).encode()).decode()
        body = bytes(10 * LIMIT_BYTES)
        answered = await rig.send("POST", "/generate", data=body, headers={"X-Auth-Data": proof})
        assert answered.status == 200
        assert rig.model.requests[0].body == body


# --- given back in every way ----------------------------------------------------------------------

Ending = Callable[[Rig, RawClient], Any]


async def served(rig: Rig, client: RawClient) -> None:
    body = body_of(rig, 50_000)
    await client.send(with_length(len(body)), body)
    assert (await client.answer()).status == 200


async def unsigned(rig: Rig, client: RawClient) -> None:
    body = json.dumps(rig.envelope(payload("x" * 50_000), auth={**rig.auth(), "signature": "none"})).encode()
    await client.send(with_length(len(body)), body)
    assert (await client.answer()).status == 401


async def invalid(_rig: Rig, client: RawClient) -> None:
    await client.send(with_length(50_000), bytes(50_000))
    assert (await client.answer()).status == 422


async def incomplete(_rig: Rig, client: RawClient) -> None:
    body = b'{"auth_data": {}, "payload": {}}'
    await client.send(with_length(len(body)), body)
    assert (await client.answer()).status == 422


async def too_large(_rig: Rig, client: RawClient) -> None:
    await client.send(head("Transfer-Encoding: chunked"), chunk(bytes(90_000)))
    await client.send(chunk(bytes(20_000)))
    assert (await client.answer()).status == 413


async def gone_in_the_middle(rig: Rig, client: RawClient) -> None:
    await client.send(with_length(50_000), bytes(30_000))
    await until(lambda: intake(rig).held_bytes == 30_000, "it is held")
    client.leave()


async def gone_in_a_chunk(rig: Rig, client: RawClient) -> None:
    await client.send(head("Transfer-Encoding: chunked"), chunk(bytes(30_000)))
    await until(lambda: intake(rig).held_bytes == 30_000, "it is held")
    client.leave()


async def a_chunk_that_is_none(rig: Rig, client: RawClient) -> None:
    await client.send(head("Transfer-Encoding: chunked"), chunk(bytes(30_000)))
    await until(lambda: intake(rig).held_bytes == 30_000, "it is held")
    await client.send(b"this is no size\r\n")
    # aiohttp does not tell who reads the body: he waits until it has come too slowly
    assert (await client.answer()).status in {400, 408}
    await client.closed()


async def wrongly_compressed(_rig: Rig, client: RawClient) -> None:
    await client.send(head("Content-Length: 9", "Content-Encoding: gzip"), b"not gzip!")
    assert (await client.answer()).status == 422


async def a_session_that_is_none(rig: Rig, client: RawClient) -> None:
    body = json.dumps(rig.envelope(payload(), session_id="none")).encode()
    await client.send(with_length(len(body)), body)
    assert (await client.answer()).status == 410


@pytest.mark.parametrize(
    "ending",
    [
        served,
        unsigned,
        invalid,
        incomplete,
        too_large,
        gone_in_the_middle,
        gone_in_a_chunk,
        a_chunk_that_is_none,
        wrongly_compressed,
        a_session_that_is_none,
    ],
)
async def test_what_was_held_is_given_back(
    tmp_path: Path, way: str, ending: Ending, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "FIRST_BYTES_S", 2.0)
    async with limited(tmp_path, way, mode=Mode.SIGNATURE) as rig:
        async with connected(rig.worker.port) as client:
            await ending(rig, client)
        await until(lambda: intake(rig).held_bytes == 0, "it is given back")
        assert (await rig.post("/generate", payload())).status == 200
        await rig.settled(served=2 if ending is served else 1)
    assert not [record for record in caplog.records if record.exc_info], "a client's fault is no fault of ours"


async def test_sessions_are_created_within_the_same_limits(tmp_path: Path) -> None:
    async with limited(tmp_path) as rig, connected(rig.worker.port) as client:
        await client.send(head(f"Content-Length: {LIMIT_BYTES + 1}", path="/session/create"))
        assert (await client.answer()).status == 413
        await client.closed()


# --- slow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        ("Content-Length: 50000", bytes(1000)),
        ("Content-Length: 99999", b""),
        ("Transfer-Encoding: chunked", chunk(bytes(1000))),
        ("Transfer-Encoding: chunked", b"3e8"),
    ],
)
async def test_who_stops_sending_is_sent_away(
    tmp_path: Path, way: str, announced: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "FIRST_BYTES_S", 0.1)
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        await client.send(head(announced), sent)
        answered = await client.answer()
        assert answered.status == 408
        assert "too slowly" in answered.json()["error"]
        await client.closed()


@pytest.mark.parametrize("announced", ["Content-Length: 20000", "Transfer-Encoding: chunked"])
async def test_who_sends_slowly_but_steadily_is_heard(
    tmp_path: Path, way: str, announced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "FIRST_BYTES_S", 0.5)
    monkeypatch.setattr(intake_module, "SLOWEST_BYTES_PER_S", 100)
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        body = body_of(rig, 20_000)
        pieces = [body[i : i + 2000] for i in range(0, 20_000, 2000)]  # each is worth 20 s
        sent = [chunk(piece) if "chunked" in announced else piece for piece in pieces]
        sent[0] = head(announced).encode() + sent[0]  # so that nobody has to be quick: this process may be stopped
        for piece in sent:
            await client.send(piece)
            await asyncio.sleep(0.1)
        await client.send(b"0\r\n\r\n" if "chunked" in announced else b"")
        assert (await client.answer()).status == 200


# --- put together ---------------------------------------------------------------------------------


class Coming:
    """A body that comes in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def read_nowait(self) -> bytes:
        raise AssertionError("it is not all there")

    def is_eof(self) -> bool:
        return False

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize("announces", [True, False])
@pytest.mark.parametrize("lengths", [[1], [10, 1], [1, 10], [1, 1, 1, 97], [30, 30, 30, 30], [100, 1, 1], []])
async def test_pieces_are_put_together_in_order(lengths: list[int], *, announces: bool) -> None:
    pieces = [bytes([number]) * length for number, length in enumerate(lengths)]
    whole = b"".join(pieces)
    limits = Intake(max_body_bytes=1000, max_held_bytes=1000)
    with limits.hold() as hold:
        assert await hold.read(Coming(pieces), len(whole) if announces else 0) == whole


async def test_more_than_was_announced_is_refused() -> None:
    limits = Intake(max_body_bytes=1000, max_held_bytes=1000)
    with limits.hold() as hold, pytest.raises(BadFraming):
        await hold.read(Coming([b"x" * 30, b"x" * 30]), 50)


# --- compressed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
async def test_a_compressed_envelope_is_read(
    tmp_path: Path, way: str, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    async with limited(tmp_path, way) as rig:
        headers = {**JSON, "Content-Encoding": encoding}
        answered = await rig.send("POST", "/generate", data=encode(body_of(rig, 40_000)), headers=headers)
        assert answered.status == 200
        assert "Content-Encoding" not in rig.model.requests[0].headers
        assert rig.model.requests[0].json() == payload()


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip", b"not gzip", 422),
        ("gzip", b"", 422),
        ("gzip", ZIPPED[:-4], 422),
        ("gzip", ZIPPED + b"more", 422),
        ("deflate", b"not deflate", 422),
        ("gzip, gzip", b"x", 415),
    ],
)
async def test_what_is_compressed_wrongly_is_refused(
    tmp_path: Path, way: str, encoding: str, body: bytes, status: int
) -> None:
    async with limited(tmp_path, way) as rig:
        answered = await rig.send("POST", "/generate", data=body, headers={**JSON, "Content-Encoding": encoding})
        assert answered.status == status
        assert answered.json()["error"]


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_bomb_does_not_go_off(
    tmp_path: Path, way: str, encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    bomb = encode(bytes(64 * 1024 * 1024))
    assert len(bomb) < LIMIT_BYTES
    async with limited(tmp_path, way) as rig:
        tracemalloc.start()
        answered = await rig.send("POST", "/generate", data=bomb, headers={**JSON, "Content-Encoding": encoding})
        _, most_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answered.status == 413
        assert most_bytes < 8 * 1024 * 1024


@dataclasses.dataclass
class Sent:
    """A body that is there."""

    data: bytes

    async def readany(self) -> bytes:
        raise AssertionError("it is all there")

    def is_eof(self) -> bool:
        return True

    def read_nowait(self) -> bytes:
        return self.data


TEXTS: dict[str, Callable[[], bytes]] = {
    "long": lambda: bytes(40 * 1024 * 1024),
    "random": lambda: os.urandom(8 * 1024 * 1024),
    "one step": lambda: b"x" * 256 * 1024,
    "short": lambda: b"x",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("name", TEXTS)
async def test_a_large_compressed_body_is_taken_step_by_step(name: str) -> None:
    """Everybody else goes on meanwhile."""
    text, turns = TEXTS[name](), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    limits = Intake(max_body_bytes=64 * 1024 * 1024, max_held_bytes=64 * 1024 * 1024)
    working = asyncio.create_task(others())
    with limits.hold() as hold:
        assert await hold.read_clear(Sent(gzip.compress(text, 1)), 0, "gzip") == text
    assert limits.held_bytes == 0
    assert turns >= len(text) // (256 * 1024)
    working.cancel()
    await asyncio.wait([working])


async def test_bombs_together_stay_within_the_limit_for_all(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        await client.send(with_length(90_000), bytes(80_000))
        await until(lambda: intake(rig).held_bytes == 80_000, "it is held")
        bomb = gzip.compress(bytes(90_000))
        answered = await rig.send("POST", "/generate", data=bomb, headers={**JSON, "Content-Encoding": "gzip"})
        assert (answered.status, answered.headers["Retry-After"]) == (413, "5")


# --- the connection afterwards --------------------------------------------------------------------


async def test_a_large_body_that_was_not_read_does_not_keep_its_connection_from_reading(
    tmp_path: Path, way: str
) -> None:
    """It came in full while the request stood in line, more of it than is read ahead, and was never asked for."""
    async with limited(tmp_path, way, allow_parallel_requests=False, max_wait_time=0.2) as rig:
        rig.model.on("/generate", by_hand)
        first = rig.begin("/generate", payload())
        working = await rig.model.requests.next()
        async with connected(rig.worker.port) as client:
            size_bytes = 256 * 1024 + 10
            await client.send(bodily(size_bytes), bytes(size_bytes))
            answered = await client.answer()
            assert answered.status == (429 if way == "passed through" else 415)
            await working.answer({"text": "ok"})
            assert (await first).status == 200
            rig.model.on("/generate")
            if answered.headers.get("connection") != "close":
                body = body_of(rig)
                await client.send(with_length(len(body)), body)
                assert (await client.answer()).status == 200


def bodily(size_bytes: int) -> str:
    """The head of a request that is no envelope."""
    return head(f"Content-Length: {size_bytes}").replace("application/json", "application/octet-stream")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_an_error_to_head_has_no_body(tmp_path: Path, method: str) -> None:
    async with (
        a_worker(tmp_path, pass_generate(methods=("HEAD", "GET")), mode=Mode.TICKET) as rig,
        connected(rig.worker.port) as client,
    ):
        for _ in range(2):
            await client.send(f"{method} /generate HTTP/1.1\r\nHost: w\r\n\r\n")
            answered = await client.answer(to_head=method == "HEAD")
            assert answered.status == 401
            assert int(answered.headers["content-length"]) > 0


async def test_one_request_behind_the_other_on_a_connection(tmp_path: Path, way: str) -> None:
    async with limited(tmp_path, way) as rig, connected(rig.worker.port) as client:
        for size_bytes in (0, 90_000, 0):
            body = body_of(rig, size_bytes)
            await client.send(with_length(len(body)), body)
            assert (await client.answer()).status == 200
