"""Bad input: a clear 4xx with a reason in JSON, nothing lost, nothing reaches the model."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from pyworker import PassThroughHandler
from pyworker.testing import answer, by_hand
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.raw_client import RawClient, connected
from tests.support.workers.handlers import Generate, parsed_generate, pass_generate, payload
from tests.support.workers.kinds import Kind, every_kind
from tests.support.workers.rig import Rig, a_worker, until

GIB = 1024**3


@pytest.fixture(autouse=True)
def _do_not_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.worker.inbound.server_protocol.LINGER_S", 0.1)


async def send_body(rig: Rig, body: bytes, **headers: str) -> tuple[int, Any]:
    """POST these bytes: status and JSON of the answer."""
    head = {"Content-Type": "application/json", **headers}
    answered = await rig.send("POST", "/generate", data=body, headers=head)
    return answered.status, answered.json()


async def json_answer(client: RawClient) -> tuple[int, Any]:
    """Status and JSON of the next answer, which must be JSON."""
    answered = await client.answer()
    assert answered.headers["content-type"].startswith("application/json"), answered
    return answered.status, answered.json()


def deep(levels: int) -> bytes:
    """Arrays in arrays."""
    return b"[" * levels + b"]" * levels


# --- what is no JSON ------------------------------------------------------------------------------

NOT_JSON = {
    "empty": b"",
    "cut off": b'{"auth_data": {',
    "two": b"{} {}",
    "a word": b"hello",
    "NaN": b'{"payload": NaN}',
    "infinity": b'{"payload": {"x": 1e999}}',
    "no text": b'{"payload": "\xff\xfe"}',
    "a lone surrogate's half": b'{"payload": "\\ud800"',
    "deep": deep(200_000),
    "NUL": b"\x00",
}
NOT_AN_OBJECT = {"array": b"[]", "text": b'"x"', "number": b"5", "null": b"null", "bool": b"true"}


@every_kind
@pytest.mark.parametrize("body", [*NOT_JSON.values(), *NOT_AN_OBJECT.values()], ids=[*NOT_JSON, *NOT_AN_OBJECT])
async def test_what_is_no_json_object_is_a_422(tmp_path: Path, kind: Kind, body: bytes) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        status, answered = await send_body(rig, body)
        assert status == 422
        assert answered["error"].startswith("invalid JSON")
        assert not rig.model.requests
        await rig.settled()
        assert (await rig.post("/generate", payload())).status == 200


@every_kind
async def test_nesting_inside_the_payload_does_no_harm(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        head = json.dumps(rig.auth()).encode()
        for levels in (50, 900, 5_000, 200_000):
            nested = b'{"prompt": "p", "max_response_tokens": 5, "x": %b}' % deep(levels)
            status, _ = await send_body(rig, b'{"auth_data": %b, "payload": %b}' % (head, nested))
            assert status in {200, 422}
        assert (await rig.post("/generate", payload())).status == 200


# --- fields ---------------------------------------------------------------------------------------


async def test_every_field_that_is_missing_is_named(tmp_path: Path) -> None:
    async with a_worker(tmp_path) as rig:
        auth = rig.auth()
        del auth["reqnum"]
        answered = await rig.post("/generate", {}, auth=auth)
        assert answered.status == 422
        assert answered.json() == {
            "auth_data": {"reqnum": "missing parameter"},
            "payload": {"prompt": "missing parameter"},
        }


@every_kind
async def test_parts_of_the_envelope_that_are_missing_are_named(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        missing = {"auth_data": "missing parameter", "payload": "missing parameter"}
        assert await send_body(rig, b"{}") == (422, missing)
        assert await send_body(rig, b'{"auth_data": null, "payload": null}') == (422, missing)
        no_payload = json.dumps({"auth_data": rig.auth()}).encode()
        assert await send_body(rig, no_payload) == (422, {"payload": "missing parameter"})


@every_kind
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cost", "100"),
        ("cost", True),
        ("cost", -1),
        ("cost", 10**400),
        ("cost", None),
        ("reqnum", 1.5),
        ("reqnum", "1"),
        ("request_idx", []),
        ("url", 5),
        ("endpoint", {}),
        ("signature", None),
    ],
)
async def test_a_claim_of_the_wrong_type_is_named(tmp_path: Path, kind: Kind, field: str, value: Any) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        body = json.dumps({"auth_data": {**rig.auth(), field: value}, "payload": payload()}).encode()
        status, answered = await send_body(rig, body)
        assert status == 422
        assert field in json.dumps(answered) or value == 10**400
        assert not rig.model.requests


@every_kind
async def test_integers_beyond_64_bits_are_a_422_or_go_through(tmp_path: Path, kind: Kind) -> None:
    for mode in (Mode.OFF, Mode.TICKET, Mode.SIGNATURE):
        async with a_worker(tmp_path, kind(), mode=mode) as rig:
            for field in ("reqnum", "request_idx"):
                for number in (2**63, 2**64, 2**200, -1, -(2**70)):
                    answered = await rig.post("/generate", payload(), auth={**rig.auth(), field: number})
                    assert answered.status in {200, 401, 408, 422}
            assert (await rig.post("/generate", payload())).status == 200
            await rig.engine.reports.where(lambda report: report.cur_perf)


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"prompt": 5}, {"prompt": "expected string, got integer"}),
        ({"prompt": None}, {"prompt": "missing parameter"}),
        ({"prompt": "p", "max_response_tokens": "9"}, {"max_response_tokens": "expected integer, got string"}),
        ({"prompt": "p", "max_response_tokens": 1.5}, {"max_response_tokens": "expected integer, got number"}),
        ({"prompt": [], "max_response_tokens": {}}, None),
    ],
)
async def test_a_payload_field_of_the_wrong_type_is_named(tmp_path: Path, given: Any, problems: Any) -> None:
    async with a_worker(tmp_path) as rig:
        answered = await rig.post("/generate", given)
        assert answered.status == 422
        assert answered.json() == {"payload": problems} or problems is None
        assert set(answered.json()["payload"]) == set(problems or given)


@every_kind
@pytest.mark.parametrize("wrong", [[], "text", 5, True])
async def test_a_payload_that_is_no_object_is_refused_where_it_has_to_be_one(
    tmp_path: Path, kind: Kind, wrong: Any
) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        is_read = kind in {Generate, parsed_generate}
        assert (await rig.post("/generate", wrong)).status == (422 if is_read else 200)
        assert len(rig.model.requests) == (0 if is_read else 1)


@every_kind
async def test_unknown_fields_are_ignored(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        envelope: dict[str, Any] = rig.envelope({**payload(), "novel": 1}, auth={**rig.auth(), "novel": {}})
        envelope["novel"] = []
        assert (await send_body(rig, json.dumps(envelope).encode()))[0] == 200


@every_kind
async def test_a_session_id_of_the_wrong_type_is_named(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        body = json.dumps({**rig.envelope(payload()), "session_id": 5}).encode()
        assert await send_body(rig, body) == (422, {"session_id": "expected string"})


# --- sizes ----------------------------------------------------------------------------------------


@every_kind
async def test_a_content_length_of_two_gigabytes_is_refused_before_a_byte_is_read(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig, connected(rig.worker.port) as client:
        await client.send(head(**{"Content-Length": str(2 * GIB)}))
        status, answered = await json_answer(client)
        assert status == 413
        assert "268435456 bytes" in answered["error"]
        assert await client.closed() == b""


@every_kind
async def test_a_client_that_goes_on_sending_still_gets_its_413(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig, connected(rig.worker.port) as client:
        await client.send(head(**{"Content-Length": str(2 * GIB)}) + b"x" * 3_000_000)
        assert (await json_answer(client))[0] == 413


@every_kind
async def test_a_body_without_a_length_is_refused_when_it_is_too_large(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind(), settings={"max_body_bytes": 10_000}) as rig:
        async with connected(rig.worker.port) as client:
            await client.send(head(**{"Transfer-Encoding": "chunked"}))
            for _ in range(3):
                await client.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            assert (await json_answer(client))[0] == 413
        assert (await rig.post("/generate", payload("x" * 20_000))).status == 413
        assert (await rig.post("/generate", payload("x" * 5_000))).status == 200
        await rig.settled(served=1)


async def test_only_behind_a_checked_proof_a_body_has_no_limit(tmp_path: Path) -> None:
    handlers = pass_generate(), Generate(route="/authored")
    async with a_worker(tmp_path, *handlers, mode=Mode.TICKET, settings={"max_body_bytes": 10_000}) as rig:
        for path, good, bad in (("/generate", 200, 401), ("/authored", 413, 401)):
            body = json.dumps(payload("x" * 50_000)).encode()
            for auth, status in ((rig.auth(), good), ({**rig.auth(), "signature": "no"}, bad)):
                proof = dump_auth_header(parse_auth_data(auth))
                headers = {"X-Auth-Data": proof, "Content-Type": "application/json"}
                assert (await rig.send("POST", path, data=body, headers=headers)).status == status
        assert [len(request.body) for request in rig.model.requests] == [len(body)]


@every_kind
async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind(), settings={"max_body_bytes": 100_000}) as rig:
        bomb = gzip.compress(b" " * 10_000_000)
        assert len(bomb) < 100_000
        assert (await send_body(rig, bomb, **{"Content-Encoding": "gzip"}))[0] == 413
        assert (await send_body(rig, b"no gzip", **{"Content-Encoding": "gzip"}))[0] == 422
        assert (await send_body(rig, b"{}", **{"Content-Encoding": "br"}))[0] == 415


@every_kind
async def test_what_is_held_for_all_requests_not_yet_authenticated_is_bounded(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind(), settings={"max_unauthenticated_bytes": 100_000}) as rig:
        held = rig.runtime.entrance.intake
        async with connected(rig.worker.port) as first, connected(rig.worker.port) as second:
            for client in (first, second):
                await client.send(head(**{"Content-Length": "50000"}) + b"x" * 45_000)
            await until(lambda: held.held_bytes == 90_000)
            third = await rig.post("/generate", payload("x" * 20_000))
            assert (third.status, "Retry-After" in third.headers) == (413, True)
            assert (await rig.post("/generate", payload())).status == 200
        await until(lambda: held.held_bytes == 0)
        assert (await rig.post("/generate", payload("x" * 50_000))).status == 200


def head(path: str = "/generate", method: str = "POST", **headers: str) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: worker", "Content-Type: application/json"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


# --- slowness -------------------------------------------------------------------------------------


@every_kind
async def test_a_body_that_comes_too_slowly_is_a_408(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyworker.intake.FIRST_BYTES_S", 0.05)
    async with a_worker(tmp_path, kind()) as rig, connected(rig.worker.port) as client:
        await client.send(head(**{"Content-Length": "100"}) + b"{")
        assert (await json_answer(client))[0] == 408
        assert await client.closed() == b""
        await rig.settled()


@every_kind
async def test_a_client_that_leaves_in_the_middle_of_its_envelope_is_in_no_book(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig:
        async with connected(rig.worker.port) as client:
            await client.send(head(**{"Content-Length": "100000"}) + b"x" * 5000)
            await until(lambda: rig.runtime.entrance.intake.held_bytes)
        await until(lambda: not rig.runtime.entrance.intake.held_bytes)
        await rig.settled()


async def test_connections_that_ask_nothing_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("connections", "worker.inbound.fast_lane"):
        monkeypatch.setattr(f"pyworker.{module}.FIRST_REQUEST_S", 0.05)
    begun = b"", b"POST /gener", b"POST /generate HTTP/1.1\r\nHost: w", b"GET /pyworker/he", b"GET / HTTP/1.1\r\nA"
    async with a_worker(tmp_path, pass_generate()) as rig, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(rig.worker.port)) for _ in begun]
        for client, data in zip(clients, begun, strict=True):
            await client.send(data)
        assert await asyncio.gather(*(client.closed() for client in clients)) == [b""] * len(begun)


async def test_an_envelope_that_comes_byte_by_byte_is_understood(tmp_path: Path) -> None:
    async with a_worker(tmp_path, pass_generate(), Generate(route="/authored")) as rig:
        for path in ("/generate", "/authored"):
            async with connected(rig.worker.port) as client:
                body = json.dumps(rig.envelope(payload())).encode()
                for byte in head(path, **{"Content-Length": str(len(body))}) + body:
                    await client.send(bytes([byte]))
                assert await json_answer(client) == (200, {"text": "hello"})


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["..", ".", "%2e%2e", "%2E.", "a%2Fb", "%2f", "a%5Cb", "..%5c", "a%00b", "a%0d%0aX:y", "%0a", "a%252Fb"]
)
async def test_a_path_parameter_stays_one_segment_of_the_models_path(tmp_path: Path, value: str) -> None:
    handler = PassThroughHandler("/models/{name}/run")
    async with a_worker(tmp_path, handler) as rig:
        body = json.dumps(rig.envelope(payload())).encode()
        async with connected(rig.worker.port) as client:
            await client.send(head(f"/models/{value}/run", **{"Content-Length": str(len(body))}) + body)
            status, answered = await json_answer(client)
        if value == "a%252Fb":  # a name with a percent sign in it, which stays encoded
            assert (status, rig.model.requests[0].path) == (200, "/models/a%252Fb/run")
        else:
            assert status in {400, 404}
            assert answered["error"]
            assert not rig.model.requests


@pytest.mark.parametrize("value", ["llama-3.1", "ä ö", "a+b", "a:b@c", "100%", "a;b=c", "...", "a..b"])
async def test_a_path_parameter_reaches_the_model_as_it_was_meant(tmp_path: Path, value: str) -> None:
    async with a_worker(tmp_path, PassThroughHandler("/models/{name}/run")) as rig:
        url = URL(rig.url) / "models" / value / "run"
        async with rig.http.post(url, json=rig.envelope(payload())) as answered:
            assert answered.status == 200
        assert URL(rig.model.requests[0].path, encoded=True).parts == ("/", "models", value, "run")


async def test_there_is_no_way_out_of_the_routes(tmp_path: Path) -> None:
    async with a_worker(tmp_path, pass_generate()) as rig:
        for path in (
            "/generate/../admin",
            "/generate/",
            "//generate",
            "/GENERATE",
            "/generate%2f",
            "/%67enerate/x",
            "*",
        ):
            async with connected(rig.worker.port) as client:
                await client.send(head(path, **{"Content-Length": "2"}) + b"{}")
                status, answered = await json_answer(client)
                assert (status in {400, 404}, bool(answered["error"])) == (True, True), path
        assert not rig.model.requests


# --- what is no HTTP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nContent-Length: x\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nContent-Length: -1\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nNo colon\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nA: b\x00c\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /pyworker/x HTTP/1.1\r\nHost: w\r\nNo colon\r\n\r\n",
        b"GET /pyworker/x HTTP/9.9\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400_in_json_and_reaches_nobody(tmp_path: Path, data: bytes) -> None:
    async with a_worker(tmp_path, pass_generate()) as rig, connected(rig.worker.port) as client:
        await client.send(data)
        status, answered = await json_answer(client)
        assert 400 <= status < 500
        assert status not in {408, 429}
        assert answered["error"]
        assert not rig.model.requests


async def test_what_there_is_no_route_for_is_a_404_in_json(tmp_path: Path) -> None:
    async with a_worker(tmp_path) as rig:
        answered = await rig.post("/nowhere", payload())
        assert (answered.status, bool(answered.json()["error"])) == (404, True)


async def test_a_body_that_an_author_does_not_take_is_a_415(tmp_path: Path) -> None:
    async with a_worker(tmp_path) as rig:
        answered = await rig.send("POST", "/generate", data=b"a,b", headers={"Content-Type": "text/csv"})
        assert (answered.status, bool(answered.json()["error"])) == (415, True)


@every_kind
async def test_two_requests_in_one_piece_are_both_answered_or_the_second_is_not_begun(
    tmp_path: Path, kind: Kind
) -> None:
    async with a_worker(tmp_path, kind()) as rig, connected(rig.worker.port) as client:
        bodies = [json.dumps(rig.envelope(payload(prompt))).encode() for prompt in ("first", "second")]
        await client.send(b"".join(head(**{"Content-Length": str(len(body))}) + body for body in bodies))
        assert (await json_answer(client))[0] == 200
        answered = False
        with contextlib.suppress(EOFError, ConnectionError):
            answered = (await json_answer(client))[0] == 200
        await until(lambda: not rig.runtime.books.ledger.in_flight_count)
        assert [request.json()["prompt"] for request in rig.model.requests] == ["first", "second"][: 1 + answered]


@every_kind
async def test_a_client_that_expects_to_be_told_to_go_on_is_told_so(tmp_path: Path, kind: Kind) -> None:
    async with a_worker(tmp_path, kind()) as rig, connected(rig.worker.port) as client:
        body = json.dumps(rig.envelope(payload())).encode()
        await client.send(head(**{"Content-Length": str(len(body)), "Expect": "100-continue"}))
        assert (await client.answer(to_head=True)).status == 100
        await client.send(body)
        assert (await json_answer(client))[0] == 200
        assert "Expect" not in rig.model.requests[0].headers


# --- too many -------------------------------------------------------------------------------------


@every_kind
async def test_a_429_says_when_to_come_back(tmp_path: Path, kind: Kind) -> None:
    """From the work ahead and the measured capacity: 100 tokens at 10 a second are 10 s, of which 4 may be waited."""
    async with a_worker(tmp_path, kind(max_queue_time=4.0), fixed_throughput=10.0) as rig:
        rig.model.on("/generate", by_hand)
        working = rig.begin("/generate", payload(tokens=100))
        held = await rig.model.requests.next()
        refused = await rig.post("/generate", payload(), auth=rig.auth(request_idx=66))
        assert (refused.status, refused.headers["Retry-After"]) == (429, "6")
        assert refused.json()["error"]
        await held.answer({})
        await working
        await rig.settled(served=1, rejected=1)
        report = await rig.engine.reports.where(lambda report: report.rej_load)
        assert report.rej_load == 10.0


@every_kind
async def test_a_request_that_waits_longer_than_its_limit_gets_its_429_then(tmp_path: Path, kind: Kind) -> None:
    """Not when its turn would have come: the model is still at work on the one before."""
    async with a_worker(tmp_path, kind(max_queue_time=0.05), allow_parallel_requests=False) as rig:
        rig.model.on("/generate", by_hand, answer({}))
        working = rig.begin("/generate", payload())
        held = await rig.model.requests.next()
        refused = await rig.post("/generate", payload(), auth=rig.auth(request_idx=67))
        assert (refused.status, int(refused.headers["Retry-After"])) == (429, 1)
        assert not working.done()
        told = await rig.engine.finished.where(lambda request: request.request_idx == 67)
        assert (told.status, told.success, told.work_started_at) == ("Rejected", False, None)
        await held.answer({})
        assert (await working).status == 200
        assert (await rig.post("/generate", payload())).status == 200
        await rig.settled(served=2, rejected=1)


async def test_the_backends_limit_holds_for_handlers_without_their_own(tmp_path: Path) -> None:
    handlers = Generate(), Generate(route="/patient", max_queue_time=1e9)
    async with a_worker(tmp_path, *handlers, max_wait_time=0.0, fixed_throughput=1.0) as rig:
        rig.model.on("/generate", by_hand)
        working = rig.begin("/generate", payload())
        held = await rig.model.requests.next()
        assert (await rig.post("/generate", payload())).status == 429
        assert (await rig.post("/patient", payload())).status == 200
        await held.answer({})
        await working


async def test_serial_handlers_share_one_line_and_are_served_in_order(tmp_path: Path) -> None:
    handlers = pass_generate(), Generate(route="/authored"), Generate(route="/parallel", allow_parallel_requests=True)
    async with a_worker(tmp_path, *handlers, allow_parallel_requests=False) as rig:
        rig.model.on("/generate", by_hand)
        first = rig.begin("/generate", payload("1"))
        held = await rig.model.requests.next()
        waiting: list[asyncio.Task[Any]] = []
        for number, path in enumerate(["/authored", "/generate", "/authored"], start=2):
            waiting.append(rig.begin(path, payload(str(number))))
            await until(lambda number=number: rig.runtime.books.ledger.in_flight_count == number)
        assert (await rig.post("/parallel", payload("beside"))).status == 200
        rig.model.on("/generate")
        await held.answer({})
        await asyncio.gather(first, *waiting)
        assert [request.json()["prompt"] for request in rig.model.requests] == ["1", "beside", "2", "3", "4"]


async def test_a_handler_may_have_more_slots_than_one_and_fewer_than_all(tmp_path: Path) -> None:
    async with a_worker(tmp_path, Generate(max_concurrency=2)) as rig:
        rig.model.on("/generate", by_hand)
        calls = [rig.begin("/generate", payload()) for _ in range(3)]
        await until(lambda: rig.runtime.books.ledger.in_flight_count == 3)
        first, _ = await rig.model.requests.at_least(2)
        assert len(rig.model.requests) == 2
        await first.answer({})
        for held in (await rig.model.requests.at_least(3))[1:]:
            await held.answer({})
        assert [(await call).status for call in calls] == [200] * 3
