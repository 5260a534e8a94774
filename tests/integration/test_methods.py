"""Methods that an author declares, and that no list of methods knows: they go through with and without a body."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from pyworker import PassThroughHandler
from pyworker.testing import FakeModel
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.raw_client import connected
from tests.support.raw_server import RawConnection, RawServer
from tests.support.workers.handlers import Generate, payload
from tests.support.workers.rig import Rig, a_worker

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class AnyModel(RawServer):
    """A model server that takes any method; ``seen`` has the first line and the body of each request but GET."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.log_path = None
        self.seen: list[tuple[str, bytes]] = []

    async def _answer(self, connection: RawConnection) -> None:
        while request := await connection.request():
            head, _, body = request.partition(b"\r\n\r\n")
            line = head.split(b"\r\n")[0].decode()
            if not line.startswith("GET /health"):
                self.seen.append((line, body))
            await connection.send(ANSWER)


def proof(rig: Rig) -> dict[str, str]:
    return {"X-Auth-Data": dump_auth_header(parse_auth_data(rig.auth()))}


@pytest.mark.parametrize("method", ["PURGE", "FOO", "BAR-BAZ"])
@pytest.mark.parametrize("mode", [Mode.OFF, Mode.TICKET], ids=["open", "ticket"])
@pytest.mark.parametrize("route", ["/generate", "/generate/{x}"])
async def test_a_method_of_the_authors_own_goes_with_and_without_a_body(
    tmp_path: Path, method: str, mode: Mode, route: str
) -> None:
    """In all three ways of sending it, as GET and POST do."""
    async with (
        AnyModel() as model,
        a_worker(
            tmp_path, PassThroughHandler(route, methods=(method,)), mode=mode, model=cast("FakeModel", model)
        ) as rig,
    ):
        path = route.replace("{x}", "y")
        bare = await rig.send(method, path, headers=proof(rig) if mode is Mode.TICKET else {})
        envelope = await rig.send(method, path, json=rig.envelope({"prompt": "in an envelope"}))
        plain = await rig.send(method, path, data=b"as it is", headers=proof(rig))
        assert [answered.status for answered in (bare, envelope, plain)] == [200, 200, 200]
        line = f"{method} {path} HTTP/1.1"
        assert model.seen == [(line, b""), (line, b'{"prompt": "in an envelope"}'), (line, b"as it is")]
        if mode is Mode.TICKET:
            assert (await rig.send(method, path)).status == 401
        await rig.settled(served=3)


async def test_an_authors_handler_takes_such_a_methods_payload_from_the_query(tmp_path: Path) -> None:
    async with (
        AnyModel() as model,
        a_worker(tmp_path, Generate(methods=("FOO",)), model=cast("FakeModel", model)) as rig,
    ):
        assert (await rig.send("FOO", "/generate?prompt=Why")).status == 200
        assert [line for line, _ in model.seen] == ["FOO /generate HTTP/1.1"]


async def test_a_post_without_a_body_is_still_no_envelope(tmp_path: Path) -> None:
    async with a_worker(tmp_path, PassThroughHandler("/generate")) as rig:
        assert (await rig.send("POST", "/generate", headers={"Content-Type": "application/json"})).status == 422


async def test_beside_such_a_method_all_else_is_read_as_ever(tmp_path: Path) -> None:
    """By another parser, which must be as strict."""
    handlers = [PassThroughHandler("/generate", methods=("FOO",)), Generate(route="/authored")]
    async with a_worker(tmp_path, *handlers) as rig:
        rig.model.on("/authored")
        assert (await rig.post("/authored", payload())).status == 200
        for request in ("F(O) /generate HTTP/1.1\r\nHost: w", "FOO /generate HTTP/1.1\r\nno header"):
            async with connected(rig.worker.port) as client:
                await client.send(request + "\r\n\r\n")
                assert (await client.answer()).status == 400
