"""How much a request's head may hold: the same on every route, and 431 beyond, however it comes."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from pyworker.net import MAX_HEAD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from pyworker.worker.core.gate import Mode
from tests.support.raw_client import RawClient, connected
from tests.support.workers.handlers import Generate, pass_generate, payload
from tests.support.workers.rig import Rig, a_worker

both_routes = pytest.mark.parametrize("path", ["/generate", "/authored"], ids=["fast", "aiohttp"])
on_both_parsers = pytest.mark.parametrize("methods", [("POST",), ("POST", "FOO")], ids=["C", "Python"])


def a_rig(tmp_path: Path, methods: tuple[str, ...] = ("POST",)) -> AbstractAsyncContextManager[Rig]:
    authored = Generate(route="/authored", methods=methods)
    return a_worker(tmp_path, pass_generate(), authored, mode=Mode.OFF)


def request(rig: Rig, path: str, *headers: str) -> bytes:
    """A good one, with these headers, which do not go on to the model."""
    body = json.dumps(rig.envelope(payload())).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: w", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def asked(client: RawClient, *pieces: bytes) -> int:
    """The status, for bytes that come one after the other; who refuses them says so in JSON."""
    for piece in pieces:
        await client.send(piece)
        await asyncio.sleep(0.01)
    answered = await client.answer()
    assert answered.status == 200 or answered.json()["error"]
    return answered.status


@both_routes
@on_both_parsers
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Cookie: " + "x" * 50_000], 200),
        (["Cookie: " + "x" * (MAX_HEAD_BYTES - 200)], 200),
        (["Cookie: " + "x" * MAX_HEAD_BYTES], 431),
        (["Cookie: " + "x" * 100_000], 431),
        (["Cookie: " + "x" * 200_000], 431),
        (["Cookie: " + "x" * 10_000] * 6, 200),
        (["Cookie: " + "x" * 10_000] * 7, 431),
        (["Cookie: x"] * (MAX_HEADERS - 2), 200),
        (["Cookie: x"] * (MAX_HEADERS - 1), 431),
        (["Cookie: x"] * 5_000, 431),
    ],
    ids=["50k", "just", "64k", "100k", "200k", "six", "seven", "128", "129", "5000"],
)
async def test_a_large_head_is_taken_up_to_the_limit_and_refused_beyond(
    tmp_path: Path, path: str, methods: tuple[str, ...], headers: list[str], status: int
) -> None:
    async with a_rig(tmp_path, methods) as rig:
        whole = request(rig, path, *headers)
        for earlier in (0, 1):  # as the first request of its connection, and as one that comes later
            async with connected(rig.worker.port) as client:
                for _ in range(earlier):
                    assert await asked(client, request(rig, path)) == 200
                assert await asked(client, whole) == status
            async with connected(rig.worker.port) as client:
                for _ in range(earlier):
                    assert await asked(client, request(rig, path)) == 200
                assert await asked(client, whole[:1000], whole[1000:40_000], whole[40_000:]) == status
        assert rig.runtime.books.ledger.imbalance() == 0


@both_routes
async def test_a_head_that_does_not_end_is_refused_at_the_limit(tmp_path: Path, path: str) -> None:
    """Not kept while more of it comes."""
    async with a_rig(tmp_path) as rig:
        begun = request(rig, path, "Cookie: x").partition(b"Cookie")[0]
        for earlier in (0, 1):
            async with connected(rig.worker.port) as client:
                for _ in range(earlier):
                    assert await asked(client, request(rig, path)) == 200
                await client.send(begun + b"".join(b"Cookie: %d\r\n" % number for number in range(6_000)))
                assert (await client.answer()).status == 431


@both_routes
async def test_a_large_body_that_comes_with_its_head_is_no_large_head(tmp_path: Path, path: str) -> None:
    async with a_rig(tmp_path) as rig:
        body = json.dumps(rig.envelope(payload("x" * 150_000))).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: w\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        async with connected(rig.worker.port) as client:
            for _ in range(2):
                assert await asked(client, head + body) == 200
            assert await asked(client, head + body[:10], body[10:90_000], body[90_000:]) == 200


@pytest.mark.parametrize("path", ["/generate", "/authored", "/nowhere"])
async def test_a_long_first_line_is_refused(tmp_path: Path, path: str) -> None:
    async with a_rig(tmp_path) as rig:
        for target in (f"{path}?{'x' * MAX_LINE_BYTES}", f"{path}?{'x' * 100_000}"):
            async with connected(rig.worker.port) as client:
                assert await asked(client, request(rig, target)) == 431
        async with connected(rig.worker.port) as client:
            assert await asked(client, request(rig, f"/authored?{'x' * (MAX_LINE_BYTES - 50)}")) == 200
