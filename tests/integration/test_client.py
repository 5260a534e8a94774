"""The client, against a real engine and workers on real sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pyworker.client import Answer, Client
from pyworker.errors import AnsweredWithError, EngineRefused, EngineUnreachable, NoAnswerInTime, WorkerUnreachable
from pyworker.testing import Behaviour, FakeRequest, FakeServer, answer, by_hand, drop, free_port
from pyworker.wire import parse_auth_header
from tests.support.engines import API_KEY, EngineUnderTest, ReportingWorker, a_fleet, an_engine

PROMPT = {"prompt": "Hello"}


def a_client(engine: EngineUnderTest | FakeServer, *, timeout_s: float = 20.0, key: str = API_KEY) -> Client:
    return Client(engine.url, key, timeout_s=timeout_s)


async def _json(client: Client, **kwargs: float) -> tuple[int, object]:
    async with client, client.call("default", "/generate", PROMPT, **kwargs) as got:
        return got.status, await got.json()


def _then(worker: ReportingWorker, first: Behaviour) -> None:
    """What the worker does with the first request; the next one is answered well."""
    worker.on("/generate", first, worker.checked(answer({"response": "Hi"})))


def _asked(worker: ReportingWorker) -> list[FakeRequest]:
    return [request for request in worker.requests if request.path == "/generate"]


# --- what a call is ---


async def test_a_call_reaches_a_worker_with_its_payload_and_a_good_ticket() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", worker.checked(answer({"response": "Hi"})))
        assert await _json(a_client(engine), cost=42) == (200, {"response": "Hi"})
        (request,) = _asked(worker)
        envelope = request.json()
        assert envelope["payload"] == PROMPT
        assert envelope["session_id"] is None
        assert set(envelope["auth_data"]) == {"cost", "endpoint", "reqnum", "url", "signature", "request_idx"}
        assert envelope["auth_data"]["cost"] == 42


async def test_a_body_that_is_no_json_goes_as_it_is_with_its_ticket_beside_it() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/stylize", answer(b"PNG", headers={"Content-Type": "image/png"}))
        async with a_client(engine) as client:
            call = client.call_with_body("default", "/stylize", b"\x00\xff", "image/jpeg", cost=7)
            async with call as got:
                await got.require_ok()
                assert (got.headers["Content-Type"], await got.read()) == ("image/png", b"PNG")
        (request,) = worker.requests
        auth_data, session_id = parse_auth_header(request.headers["X-Auth-Data"])
        assert (request.body, request.headers["Content-Type"]) == (b"\x00\xff", "image/jpeg")
        assert (auth_data.cost, auth_data.url, session_id) == (7, worker.url, None)


async def test_an_answer_that_is_an_error_can_be_raised_with_its_words() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "too long"}, status=422))
        async with a_client(engine) as client, client.call("default", "/generate", PROMPT) as got:
            with pytest.raises(AnsweredWithError, match=r'/generate answers 422: .*"too long"'):
                await got.require_ok()


async def test_the_worker_never_sees_the_api_key() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", answer({}))
        await _json(a_client(engine))
        (request,) = _asked(worker)
        assert API_KEY not in f"{request.url} {dict(request.headers)} {request.body!r}"


async def test_a_stream_is_seen_piece_by_piece_as_it_comes() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", by_hand)
        client = a_client(engine)
        async with client:
            calling = asyncio.create_task(_first_lines(client))
            request = await worker.requests.where(lambda request: request.path == "/generate")
            await request.send('data: {"token": "one"}\n\ndata: {"tok')
            await request.send('en": "two"}\n\n')
            assert await calling == [b'data: {"token": "one"}', b'data: {"token": "two"}']
            await asyncio.wait_for(request.gone.wait(), 10)


async def _first_lines(client: Client) -> list[bytes]:
    """Two lines of an answer, which is then left."""
    lines: list[bytes] = []
    async with client.call("default", "/generate", PROMPT) as got:
        async for line in got.lines():
            lines.append(line)
            if len(lines) == 2:
                break
    return lines


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413, 422, 500, 502])
async def test_an_answer_that_another_try_would_not_change_is_final(status: int) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", answer({"error": "no"}, status=status))
        assert await _json(a_client(engine)) == (status, {"error": "no"})
        assert len(_asked(worker)) == 1


async def test_a_redirect_is_not_followed_with_a_ticket_in_hand() -> None:
    async with a_fleet() as (engine, fleet), FakeServer() as elsewhere:
        worker = await fleet.join()
        worker.on("/generate", answer({}, status=307, headers={"Location": elsewhere.url}))
        assert (await _json(a_client(engine)))[0] == 307
        assert elsewhere.requests == []


# --- trying again ---


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_a_worker_that_could_not_begin_is_asked_again_as_the_same_request(status: int) -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        _then(worker, _rejection(worker, status))
        assert await _json(a_client(engine)) == (200, {"response": "Hi"})
        first, second = (request.json()["auth_data"] for request in _asked(worker))
        assert first["request_idx"] == second["request_idx"]
        assert first["signature"] != second["signature"]


def _rejection(worker: ReportingWorker, status: int = 429, retry_after_s: int = 0) -> Behaviour:
    """An answer of which the engine is told."""

    async def behave(request: FakeRequest) -> None:
        await worker.finished(request.json()["auth_data"]["request_idx"], "Rejected")
        await request.answer({"error": "full"}, status=status, headers={"Retry-After": str(retry_after_s)})

    return behave


async def test_a_worker_that_refuses_connections_is_left_for_another() -> None:
    async with a_fleet() as (engine, fleet):
        dead = await fleet.join(report={"max_perf": 1000.0})  # the quickest, so it is chosen first
        await dead.stop_listening()
        alive = await fleet.join()
        alive.on("/generate", alive.checked(answer({"response": "Hi"})))
        assert await _json(a_client(engine)) == (200, {"response": "Hi"})


async def test_a_retry_after_past_the_deadline_makes_the_answer_final() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        _then(worker, _rejection(worker, retry_after_s=3000))
        assert await _json(a_client(engine)) == (429, {"error": "full"})


async def test_a_request_that_may_have_begun_is_not_sent_again() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        _then(worker, drop())
        with pytest.raises(WorkerUnreachable, match=worker.url):
            await _json(a_client(engine))
        assert len(_asked(worker)) == 1


async def test_an_answer_that_breaks_off_is_an_error_not_an_end() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join()
        worker.on("/generate", drop(["one", "two"]))
        async with a_client(engine) as client, client.call("default", "/generate", PROMPT) as got:
            with pytest.raises(WorkerUnreachable, match="broke off"):
                await got.read()


# --- waiting ---


async def test_a_call_waits_for_a_worker_that_is_still_loading() -> None:
    async with a_fleet() as (engine, fleet):
        worker = await fleet.join(report={"state": "starting"})
        worker.on("/generate", worker.checked(answer({"response": "Hi"})))
        calling = asyncio.create_task(_json(a_client(engine)))
        await asyncio.wait([calling], timeout=0.3)
        await worker.report()
        assert await calling == (200, {"response": "Hi"})


async def test_an_engine_that_does_not_hold_calls_is_polled_with_the_same_number() -> None:
    async with FakeServer() as engine, FakeServer() as worker:
        waiting = answer({"endpoint": "default", "status": "none", "request_idx": 7})
        ready = answer(
            {"endpoint": "default", "url": worker.url, "cost": 100, "reqnum": 1, "request_idx": 7, "signature": "s"}
        )
        engine.on("/route/", waiting, ready)
        worker.on("/generate", answer({"response": "Hi"}))
        assert await _json(a_client(engine)) == (200, {"response": "Hi"})
        first, second = (request.json()["request_idx"] for request in engine.requests)
        assert (first, second) == (0, 7)


async def test_a_call_without_a_worker_ends_at_its_deadline_and_says_why() -> None:
    async with a_fleet() as (engine, fleet):
        await fleet.join(report={"state": "error", "error_msg": "out of memory"})
        with pytest.raises(NoAnswerInTime, match=r"within 0\.7 s.*1 ERROR"):
            await _json(a_client(engine, timeout_s=0.7))


# --- the engine ---


async def test_an_engine_that_is_not_there_says_how_to_start_one() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(EngineUnreachable, match="start one with `pyworker engine`") as failure:
        await _json(Client(url, API_KEY))
    assert url in str(failure.value)


async def test_what_the_engine_refuses_is_told_in_its_words() -> None:
    async with an_engine() as engine:
        with pytest.raises(EngineRefused, match="Authorization: Bearer") as failure:
            await _json(a_client(engine, key="wrong"))
        assert failure.value.answered_status == 401
        async with a_client(engine) as client:
            with pytest.raises(EngineRefused, match="there is default"):
                await _enter(client, "nope")


async def _enter(client: Client, endpoint: str) -> None:
    async with client.call(endpoint, "/generate", PROMPT) as got:
        assert isinstance(got, Answer)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"url": 7}', b'{"url": "http://x"}'])
async def test_something_that_is_no_engine_is_told_as_such(body: bytes) -> None:
    async with FakeServer(default=answer(body)) as server:
        with pytest.raises(EngineRefused, match="not an engine's"):
            await _json(a_client(server))


# --- TLS ---


async def test_a_workers_certificate_is_checked_with_the_engines_root(tmp_path: Path) -> None:
    async with an_engine() as engine:
        good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
        port = free_port()
        token = await engine.token(id=1, url=f"https://127.0.0.1:{port}")
        good.write_bytes(await _certificate(engine, token.mtoken, 1))
        async with an_engine(tmp_path / "other") as other:  # with keys of its own
            stranger = await other.token(id=1, url=f"https://127.0.0.1:{port}")
            bad.write_bytes(await _certificate(other, stranger.mtoken, 1))
        report = {"id": 1, "mtoken": token.mtoken, "url": f"https://127.0.0.1:{port}", "loadtime": 1.0, "max_perf": 1e3}
        await engine.post("/worker_status/", report)
        async with await _serve(port, good):
            assert await _json(a_client(engine)) == (200, {"response": "Hi"})
        async with await _serve(port, bad):
            with pytest.raises(WorkerUnreachable, match="certificate"):
                await _json(a_client(engine))


async def _serve(port: int, chain: Path) -> asyncio.Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"response": "Hi"}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    return await asyncio.start_server(reply, "127.0.0.1", port, ssl=context)


async def _certificate(engine: EngineUnderTest, mtoken: str, worker_id: int) -> bytes:
    """A certificate from the engine, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    url, headers = f"{engine.url}/api/v0/sign_cert/", {"Authorization": f"Bearer {mtoken}"}
    data = csr.public_bytes(serialization.Encoding.PEM)
    async with engine.http.post(url, params={"instance_id": str(worker_id)}, data=data, headers=headers) as response:
        assert response.status == 200, await response.text()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return await response.read() + private
