"""Faults of the field, 14 to 21: a request, its headers and its body on the way to the model and back."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import FormData, web
from multidict import MultiDict
from yarl import URL

from pyworker import JsonDataException, PassThroughHandler
from pyworker.backend import Handler
from pyworker.testing import FakeRequest, answer, by_hand, drop, echo, stream
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.workers.handlers import Generate, GenerateStream, Prompt, pass_generate, pass_stream, payload
from tests.support.workers.kinds import Kind, every_kind, every_stream
from tests.support.workers.rig import Rig, a_worker, until
from tests.support.workers.sockets import keep_alive_timers

# --- 14: the model's errors -----------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
async def test_the_models_error_passes_through_and_is_no_success(tmp_path: Path, kind: Kind, status: int) -> None:
    """Fault 14."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate", answer({"detail": "no"}, status=status))
        answered = await rig.post("/generate", payload(), auth=rig.auth(request_idx=9))
        assert (answered.status, answered.json()) == (status, {"detail": "no"})
        await rig.settled(errored=1)
        told = await rig.engine.finished.where(lambda request: request.request_idx == 9)
        assert (told.status, told.success) == ("Error", False)


@every_kind
async def test_a_model_that_is_not_there_is_a_502(tmp_path: Path, kind: Kind) -> None:
    """Fault 14."""
    async with a_worker(tmp_path, kind()) as rig:
        await rig.model.stop_listening()
        answered = await rig.post("/generate", payload())
        assert answered.status == 502
        assert "does not accept connections" in answered.json()["error"]
        await rig.settled(errored=1)


@every_kind
async def test_a_model_that_closes_without_an_answer_is_a_502(tmp_path: Path, kind: Kind) -> None:
    """Fault 14."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate", drop())
        assert (await rig.post("/generate", payload())).status == 502
        await rig.settled(errored=1)


# --- 15: compression ------------------------------------------------------------------------------


async def test_a_compressed_answer_passes_through_as_it_is(tmp_path: Path) -> None:
    """Fault 15."""
    async with a_worker(tmp_path, pass_generate()) as rig:
        rig.model.on("/generate", answer({"text": "hello" * 100}, gzip=True))
        answered = await rig.post("/generate", payload(), headers={"Accept-Encoding": "gzip"})
        assert answered.headers["Content-Encoding"] == "gzip"
        assert int(answered.headers["Content-Length"]) == len(answered.body)
        assert json.loads(gzip.decompress(answered.body)) == {"text": "hello" * 100}
        assert rig.model.requests[0].headers["Accept-Encoding"] == "gzip"


async def test_an_author_sees_a_compressed_answer_in_clear(tmp_path: Path) -> None:
    """Fault 15: and the client gets what the author made of it, with a length that is right."""
    async with a_worker(tmp_path, Generate()) as rig:
        rig.model.on("/generate", answer({"text": "hello" * 100}, gzip=True))
        answered = await rig.post("/generate", payload(), headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in answered.headers
        assert int(answered.headers["Content-Length"]) == len(answered.body)
        assert answered.json() == {"text": "hello" * 100}
        assert "gzip" not in rig.model.requests[0].headers.get("Accept-Encoding", "")


async def test_a_compressed_stream_reaches_its_author_in_clear(tmp_path: Path) -> None:
    """Fault 15."""
    async with a_worker(tmp_path, GenerateStream()) as rig:
        pieces = gzip.compress(b"one two three")
        rig.model.on("/generate_stream", stream([pieces[:9], pieces[9:]], headers={"Content-Encoding": "gzip"}))
        answered = await rig.post("/generate_stream", payload())
        assert answered.body == b"one two three"
        assert "Content-Encoding" not in answered.headers


@every_kind
async def test_a_compressed_envelope_is_understood(tmp_path: Path, kind: Kind) -> None:
    """Fault 15: what the model gets is not compressed and does not say so."""
    async with a_worker(tmp_path, kind()) as rig:
        body = gzip.compress(json.dumps(rig.envelope(payload("compressed"))).encode())
        head = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert (await rig.send("POST", "/generate", data=body, headers=head)).status == 200
        reached = rig.model.requests[0]
        assert reached.json()["prompt"] == "compressed"
        assert "Content-Encoding" not in reached.headers
        assert int(reached.headers["Content-Length"]) == len(reached.body)


# --- 16: headers ----------------------------------------------------------------------------------

SECRETS = {"Authorization": "Bearer endpoint-key", "Cookie": "session=endpoint-key"}
HOP_BY_HOP = {"TE": "trailers", "Keep-Alive": "timeout=5", "Connection": "keep-alive, X-Hop", "X-Hop": "mine"}
HARMLESS = {"Accept-Language": "de", "X-Request-Id": "abc", "User-Agent": "somebody/1.0", "Accept": "text/plain"}


@every_kind
async def test_the_model_gets_the_clients_harmless_headers_and_no_other(tmp_path: Path, kind: Kind) -> None:
    """Fault 16."""
    async with a_worker(tmp_path, kind()) as rig:
        await rig.post("/generate", payload(), headers={**SECRETS, **HOP_BY_HOP, **HARMLESS})
        reached = rig.model.requests[0]
        assert {name: reached.headers.get(name) for name in HARMLESS} == HARMLESS
        assert not {"Authorization", "Cookie", "X-Auth-Data", "TE", "Keep-Alive", "X-Hop"} & set(reached.headers)
        assert "X-Hop" not in reached.headers.get("Connection", "")
        assert reached.headers["Host"] == f"127.0.0.1:{rig.model.port}"
        assert reached.headers.getall("Content-Type") == ["application/json"]


async def test_a_request_with_its_proof_in_the_header_reaches_the_model_without_it(tmp_path: Path) -> None:
    """Fault 16."""
    async with a_worker(tmp_path, pass_generate()) as rig:
        rig.model.on("/generate", echo)
        headers = {"X-Auth-Data": proof(rig), "Content-Type": "text/csv", **SECRETS, **HARMLESS}
        answered = await rig.send("POST", "/generate", data=b"a,b\n1,2\n", headers=headers)
        assert answered.body == b"a,b\n1,2\n"
        reached = rig.model.requests[0]
        assert reached.headers["Content-Type"] == "text/csv"
        assert not {"X-Auth-Data", "Authorization", "Cookie"} & set(reached.headers)


@pytest.mark.parametrize("name", ["api_key", "api%5Fkey", "%61pi_key"])
async def test_the_api_key_in_the_query_does_not_reach_the_model(tmp_path: Path, name: str) -> None:
    """Fault 16: the existing client sends it to every worker."""
    async with a_worker(tmp_path, pass_generate(methods=("POST", "GET"))) as rig:
        query = f"?seed=1&{name}=endpoint-key&tag=a%2Fb"
        url = URL(rig.url + "/generate" + query, encoded=True)
        for method, message in (("POST", rig.envelope(payload())), ("GET", None)):
            async with rig.http.request(method, url, json=message) as response:
                assert response.status == 200
        assert [str(request.url) for request in rig.model.requests] == ["/generate?seed=1&tag=a%2Fb"] * 2


@every_kind
async def test_neither_kind_sends_the_query_key_on(tmp_path: Path, kind: Kind) -> None:
    """Fault 16."""
    async with a_worker(tmp_path, kind()) as rig:
        await rig.post("/generate?api_key=endpoint-key", payload())
        assert "endpoint-key" not in str(rig.model.requests[0].url)


async def test_the_client_gets_the_models_headers_but_not_the_hop_by_hop_ones(tmp_path: Path) -> None:
    """Fault 16: a streamed answer too."""
    async with a_worker(tmp_path, pass_generate(), pass_stream()) as rig:
        head = {"X-Model": "smol", "Content-Type": "application/x-ndjson", "Keep-Alive": "timeout=5"}
        head |= {"Connection": "X-Internal", "X-Internal": "secret", "Cache-Control": "no-store"}
        rig.model.on("/generate", answer(b"{}\n", status=201, headers=head))
        rig.model.on("/generate_stream", stream(["{}\n", "{}\n"], status=206, headers=head))
        for path, status in (("/generate", 201), ("/generate_stream", 206)):
            answered = await rig.post(path, payload())
            assert answered.status == status
            assert answered.headers["X-Model"] == "smol"
            assert answered.headers["Cache-Control"] == "no-store"
            assert answered.headers.getall("Content-Type") == ["application/x-ndjson"]
            assert not {"X-Internal", "Keep-Alive"} & set(answered.headers)


async def test_cookies_that_the_model_sets_reach_the_client_each_on_its_own(tmp_path: Path) -> None:
    """Fault 16."""
    async with a_worker(tmp_path, pass_generate()) as rig:
        head = MultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        rig.model.on("/generate", answer("ok", headers=head))
        answered = await rig.post("/generate", payload())
        assert answered.headers.getall("Set-Cookie") == ["a=1", "b=2"]


# --- 17: an answer that breaks off ----------------------------------------------------------------


async def breaks_off_chunked(request: FakeRequest) -> None:
    """Dies after one chunk."""
    await request.send("data: one\n\n")
    request.drop()


async def breaks_off_with_a_length(request: FakeRequest) -> None:
    """Dies before as many bytes came as were announced."""
    await request.start(headers={"Content-Length": "1000"})
    await request.send("data: one\n\n")
    request.drop()


async def breaks_off_by_a_reset(request: FakeRequest) -> None:
    """Is killed."""
    await request.send("data: one\n\n")
    request.drop(reset=True)


@every_stream
@pytest.mark.parametrize("dies", [breaks_off_chunked, breaks_off_with_a_length, breaks_off_by_a_reset])
async def test_a_model_that_dies_in_mid_stream_is_no_clean_end(tmp_path: Path, kind: Kind, dies: Any) -> None:
    """Fault 17."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate_stream", dies)
        with pytest.raises(aiohttp.ClientPayloadError):
            await rig.post("/generate_stream", payload())
        await rig.settled(errored=1)


@every_stream
async def test_a_client_of_http_1_0_notices_the_broken_stream_too(tmp_path: Path, kind: Kind) -> None:
    """Fault 17: there the end of the connection is the end of the answer, so it has to be a reset."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate_stream", breaks_off_chunked)
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.worker.port)
        body = json.dumps(rig.envelope(payload())).encode()
        writer.write(b"POST /generate_stream HTTP/1.0\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        with pytest.raises(ConnectionError):
            await reader.read()
        writer.close()
        await rig.settled(errored=1)


async def test_an_authors_answer_that_reads_a_broken_body_is_a_502(tmp_path: Path) -> None:
    """Fault 17: nothing had been sent to the client yet, so it is told properly."""
    async with a_worker(tmp_path, Generate()) as rig:
        rig.model.on("/generate", breaks_off_with_a_length)
        answered = await rig.post("/generate", payload())
        assert answered.status == 502
        assert "broke off" in answered.json()["error"]
        await rig.settled(errored=1)


# --- 18: bad input --------------------------------------------------------------------------------


def refusing(error: Exception) -> Handler:
    """A handler whose payload class does not like what it gets."""

    @dataclasses.dataclass
    class Refused(Prompt):
        @classmethod
        def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:  # noqa: ARG003
            raise error

    @dataclasses.dataclass
    class Refusing(Generate):
        @classmethod
        def payload_cls(cls) -> type[Prompt]:
            return Refused

    return Refusing()


@pytest.mark.parametrize(
    "error", [ValueError("prompt is empty"), KeyError("prompt"), TypeError("a str is needed"), AttributeError("strip")]
)
async def test_a_parsers_bad_input_is_a_422(tmp_path: Path, error: Exception) -> None:
    """Fault 18: a 500 would be sent again for ever."""
    async with a_worker(tmp_path, refusing(error)) as rig:
        answered = await rig.post("/generate", payload())
        assert answered.status == 422
        assert str(error.args[0]) in json.dumps(answered.json())
        await rig.settled()


async def test_what_a_parser_says_about_each_field_reaches_the_client(tmp_path: Path) -> None:
    """Fault 18."""
    async with a_worker(tmp_path, refusing(JsonDataException({"prompt": "too long"}))) as rig:
        answered = await rig.post("/generate", payload())
        assert (answered.status, answered.json()) == (422, {"payload": {"prompt": "too long"}})


async def test_a_fault_in_the_authors_answer_is_a_500_with_a_reason(tmp_path: Path) -> None:
    """Fault 18: this one is not the client's."""

    @dataclasses.dataclass
    class Failing(Generate):
        async def generate_client_response(self, client_request: Any, model_response: Any) -> web.Response:  # noqa: ARG002
            raise KeyError("choices")

    async with a_worker(tmp_path, Failing()) as rig:
        answered = await rig.post("/generate", payload())
        assert answered.status == 500
        assert "log" in answered.json()["error"]
        await rig.settled(errored=1)


async def test_an_author_may_answer_by_an_exception_of_aiohttp(tmp_path: Path) -> None:
    """Fault 18."""

    @dataclasses.dataclass
    class Teapot(Generate):
        async def generate_client_response(self, client_request: Any, model_response: Any) -> web.Response:  # noqa: ARG002
            raise web.HTTPConflict(text="another one is at it")

    async with a_worker(tmp_path, Teapot()) as rig:
        answered = await rig.post("/generate", payload())
        assert (answered.status, answered.json()) == (409, {"error": "another one is at it"})
        await rig.settled(errored=1)


# --- 19: workload ---------------------------------------------------------------------------------


UNBOOKABLE: list[Any] = [math.nan, math.inf, -math.inf, -1.0, 1e308, "12", None, True, ZeroDivisionError("a bug")]


def given(workload: Any) -> float:
    """What a calculator gives, or raises."""
    if isinstance(workload, Exception):
        raise workload
    return workload


def counting(workload: Any) -> Handler:
    """A handler whose payload counts so."""

    @dataclasses.dataclass
    class Counted(Prompt):
        def count_workload(self) -> float:
            return given(workload)

    @dataclasses.dataclass
    class Counting(Generate):
        @classmethod
        def payload_cls(cls) -> type[Prompt]:
            return Counted

    return Counting()


def passing_and_counting(workload: Any) -> Handler:
    """The same, passed through."""
    return PassThroughHandler("/generate", workload_calculator=lambda _: given(workload))


@pytest.mark.parametrize("workload", UNBOOKABLE, ids=repr)
@pytest.mark.parametrize("make", [passing_and_counting, counting], ids=["passed_through", "authored"])
async def test_a_workload_that_cannot_be_booked_is_counted_as_the_default(
    tmp_path: Path, workload: Any, make: Callable[[Any], Handler]
) -> None:
    """Fault 19: the request is served, the books balance, the report is JSON that an engine reads."""
    async with a_worker(tmp_path, make(workload)) as rig:
        assert (await rig.post("/generate", payload())).status == 200
        await rig.settled(served=1)
        assert rig.runtime.books.ledger.received.workload == 100.0
        report = await rig.engine.reports.where(lambda report: report.cur_perf)
        assert report.cur_perf == 100.0
        metrics = (await rig.send("GET", "/pyworker/metrics")).body.decode()
        assert "pyworker_bad_workloads_total 1.0" in metrics


# --- 20: bodies, methods --------------------------------------------------------------------------

LARGE = "x" * 5_000_000


def proof(rig: Rig, **claims: Any) -> str:
    """The value of X-Auth-Data."""
    return dump_auth_header(parse_auth_data(rig.auth(**claims)))


@every_kind
async def test_five_megabytes_go_through_in_an_envelope(tmp_path: Path, kind: Kind) -> None:
    """Fault 20."""
    async with a_worker(tmp_path, kind()) as rig:
        assert (await rig.post("/generate", payload(LARGE))).status == 200
        assert rig.model.requests[0].json()["prompt"] == LARGE


@every_kind
async def test_five_megabytes_come_back(tmp_path: Path, kind: Kind) -> None:
    """Fault 20."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate", answer({"text": LARGE}))
        assert (await rig.post("/generate", payload())).json() == {"text": LARGE}


@pytest.mark.parametrize("chunked", [False, True])
async def test_five_megabytes_go_through_as_they_are(tmp_path: Path, chunked: bool) -> None:
    """Fault 20: and are not held on the way."""

    async def pieces() -> Any:
        for _ in range(50):
            yield LARGE[:100_000].encode()

    async with a_worker(tmp_path, pass_generate(), mode=Mode.TICKET) as rig:
        headers = {"X-Auth-Data": proof(rig), "Content-Type": "application/octet-stream"}
        data = pieces() if chunked else io.BytesIO(LARGE.encode())
        assert (await rig.send("POST", "/generate", data=data, headers=headers)).status == 200
        assert rig.model.requests[0].body == LARGE.encode()
        assert ("Transfer-Encoding" in rig.model.requests[0].headers) == chunked


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE"])
async def test_any_method_goes_through(tmp_path: Path, method: str) -> None:
    """Fault 20."""
    handler = PassThroughHandler("/queue/{id}", methods=(method,))
    async with a_worker(tmp_path, handler, mode=Mode.TICKET) as rig:
        answered = await rig.send(method, "/queue/7?full=1", headers={"X-Auth-Data": proof(rig)})
        assert answered.status == 200
        assert answered.body == (b"" if method == "HEAD" else b'{"text":"hello"}')
        reached = rig.model.requests[0]
        assert (reached.method, str(reached.url)) == (method, "/queue/7?full=1")
        await rig.settled(served=1)


async def test_a_method_that_was_not_asked_for_is_405_in_json(tmp_path: Path) -> None:
    """Fault 20."""
    async with a_worker(tmp_path) as rig:
        answered = await rig.send("GET", "/generate")
        assert (answered.status, answered.headers["Allow"]) == (405, "POST")
        assert answered.json()["error"]


async def test_a_multipart_form_passes_through(tmp_path: Path) -> None:
    """Fault 20."""
    async with a_worker(tmp_path, pass_generate(), mode=Mode.TICKET) as rig:
        form = FormData()
        form.add_field("image", b"\x89PNG\r\n", filename="a.png", content_type="image/png")
        form.add_field("steps", "20")
        answered = await rig.send("POST", "/generate", data=form, headers={"X-Auth-Data": proof(rig)})
        assert answered.status == 200
        reached = rig.model.requests[0]
        assert reached.headers["Content-Type"].startswith("multipart/form-data; boundary=")
        assert b"\x89PNG\r\n" in reached.body
        assert b'name="steps"' in reached.body


async def test_a_get_route_of_an_author_takes_its_payload_from_the_query(tmp_path: Path) -> None:
    """Fault 20."""
    async with a_worker(tmp_path, Generate(methods=("GET",))) as rig:
        assert (await rig.send("GET", "/generate?prompt=Why")).status == 200
        assert rig.model.requests[0].json()["prompt"] == "Why"


# --- 21: TCP keep-alive ---------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel shows its timers only on Linux")
@every_kind
async def test_idle_connections_are_kept_alive_on_both_sides(tmp_path: Path, kind: Kind) -> None:
    """Fault 21: the kernel runs a keep-alive timer on the client's and on the model's connection, due in a minute."""
    async with a_worker(tmp_path, kind()) as rig:
        rig.model.on("/generate", by_hand)
        call = rig.begin("/generate", payload())
        held = await rig.model.requests.next()
        to_client = await until_timers(lambda: keep_alive_timers(local_port=rig.worker.port))
        to_model = await until_timers(lambda: keep_alive_timers(remote_port=rig.model.port))
        for due_s in (*to_client, *to_model):
            assert 0 < due_s <= 61
        await held.answer({})
        await call


async def until_timers(look: Callable[[], list[float]]) -> list[float]:
    """The timers, when there are any."""
    await until(look, "there is a keep-alive timer")
    return look()
