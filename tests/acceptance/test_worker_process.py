"""A worker's process: how it starts, and how it ends. Faults 22, 33 to 35 and 38 of the field."""

from __future__ import annotations

import asyncio
import datetime
import io
import ipaddress
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess, by_hand, free_port
from tests.support.workers.handlers import payload

PLAIN = "tests/support/workers/plain/worker.py"
BROKEN = Path("tests/support/workers/broken")
ROOT = Path(__file__).parents[2]
AT_ONCE = {"PYWORKER_REPORT_INTERVAL_S": "0.05"}


class Plain:
    """The plain worker, what it stands between, and a client of it."""

    def __init__(self, model: FakeModel, engine: FakeEngine, process: WorkerProcess, http: aiohttp.ClientSession):
        self.model = model
        self.engine = engine
        self.process = process
        self.http = http

    async def post(self, path: str, given: Any = None) -> int:
        """The status of an answer, which is read to its end."""
        body = io.BytesIO(json.dumps(self.envelope(given)).encode())
        async with self.http.post(path, data=body, headers={"Content-Type": "application/json"}) as response:
            await response.read()
            return response.status

    def envelope(self, given: Any = None) -> dict[str, Any]:
        """A signed request."""
        return self.engine.envelope(self.engine.sign(self.process.url), payload() if given is None else given)


@asynccontextmanager
async def plain_worker(
    command: str = PLAIN, env: Mapping[str, str] | None = None, tls: ssl.SSLContext | bool = True
) -> AsyncGenerator[Plain]:
    """It is ready."""
    async with FakeModel() as model, FakeEngine(mtoken="the-mtoken") as engine:
        process = WorkerProcess(
            command.split(), engine=engine, env={"MODEL_SERVER_URL": model.url, **AT_ONCE, **(env or {})}, cwd=ROOT
        )
        connector = aiohttp.TCPConnector(ssl=tls)
        async with process, aiohttp.ClientSession(process.url, connector=connector) as http:
            await process.ready()
            yield Plain(model, engine, process, http)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


# --- 35: how it ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("path", ["/generate", "/generate_stream"], ids=["passed_through", "authored"])
async def test_a_worker_that_is_asked_to_end_finishes_its_streams_takes_nothing_new_and_tells_the_engine(
    number: signal.Signals, path: str
) -> None:
    """Fault 35."""
    async with plain_worker() as worker:
        worker.model.on(path, by_hand)
        asked = asyncio.create_task(worker.http.post(path, json=worker.envelope()))
        held = await worker.model.requests.next()
        await held.send("data: one\n\n")
        async with await asked as response:
            os.kill(worker.process.pid, number)
            told = await worker.engine.reports.where(lambda report: report.state == "draining")
            assert told.working_request_idxs
            async with worker.http.post("/generate", json=worker.envelope()) as refused:
                assert (refused.status, "Retry-After" in refused.headers) == (503, True)
            await held.send("data: two\n\n")
            await held.end()
            assert await response.read() == b"data: one\n\ndata: two\n\n"
        assert await worker.process.ended() == 0
        assert worker.engine.reports[-1].working_request_idxs == []
        assert [request.status for request in worker.engine.finished] == ["Success"]
        assert not any("Traceback" in line for line in worker.process.output)


@pytest.mark.parametrize("path", ["/generate", "/authored"], ids=["passed_through", "authored"])
async def test_what_does_not_finish_within_the_limit_is_cut_off(path: str) -> None:
    """Fault 35: the engine hears that it failed."""
    async with plain_worker(env={"PYWORKER_DRAIN_S": "0.2"}) as worker:
        worker.model.on(path, by_hand)
        asked = asyncio.create_task(worker.post(path))
        held = await worker.model.requests.next()
        worker.process.terminate()
        await held.gone.wait()
        assert await worker.process.ended() == 0
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            assert await asked < 500
        assert [request.status for request in worker.engine.finished] == ["Error"]
        assert any("1 requests did not finish within 0.2 s" in line for line in worker.process.output)


async def test_an_idle_worker_ends_at_once() -> None:
    """Fault 35: open connections of clients that ask nothing do not keep it."""
    async with plain_worker(env={"PYWORKER_DRAIN_S": "3600"}) as worker:
        assert [await worker.post(path) for path in ("/generate", "/authored")] == [200, 200]
        worker.process.terminate()
        assert await worker.process.ended() == 0
        assert sum(report.new_load or 0.0 for report in worker.engine.reports) == 20.0
        assert len(worker.engine.finished) == 2


async def test_a_worker_that_is_not_ready_ends_at_once() -> None:
    """Fault 35."""
    env = {"MODEL_SERVER_URL": "http://127.0.0.1:1"}
    async with WorkerProcess([PLAIN], env=env, cwd=ROOT) as process:
        await process.answers(status=503)
        process.terminate()
        assert await process.ended() == 0


async def test_an_update_drains_and_ends_with_the_status_that_the_start_script_knows() -> None:
    """The wire, section 3."""
    async with plain_worker() as worker:
        worker.model.on("/generate", by_hand)
        asked = asyncio.create_task(worker.post("/generate"))
        held = await worker.model.requests.next()
        async with worker.http.post("/pyworker/update") as answered:
            assert answered.status == 202
        await worker.engine.reports.where(lambda report: report.state == "draining")
        await held.answer({})
        assert await asked == 200
        assert await worker.process.ended() == 75


async def test_an_update_asked_of_pyworker_run_has_that_status_too() -> None:
    """The wire, section 3."""
    async with plain_worker(f"-m pyworker.cli run {PLAIN}") as worker:
        async with worker.http.post("/pyworker/update") as answered:
            assert answered.status == 202
        assert await worker.process.ended() == 75


# --- 33, 38: what it needs to start ---------------------------------------------------------------


async def test_all_that_is_missing_in_the_environment_is_named_at_once() -> None:
    """Fault 33: with what it is for."""
    missing = {"VAST_TCP_PORT_3333": "", "PUBLIC_IPADDR": "", "CONTAINER_ID": "", "MASTER_TOKEN": ""}
    env = {"MODEL_SERVER_URL": "http://127.0.0.1:1", "WORKER_PORT": "3333", **missing}
    async with FakeEngine() as engine, WorkerProcess([PLAIN], engine=engine, env=env, cwd=ROOT) as process:
        assert await process.ended() == 1
        said = "\n".join(process.output)
        for name in missing:
            assert f"{name} is missing: " in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_PORT", "three thousand"),
        ("CONTAINER_ID", "C.12"),
        ("USE_SSL", "maybe"),
        ("REPORT_ADDR", "engine:8080"),
        ("PYWORKER_DRAIN_S", "-1"),
        ("PYWORKER_TICKET_KEY", "no key"),
    ],
)
async def test_a_variable_that_makes_no_sense_is_named(name: str, value: str) -> None:
    """Fault 33."""
    port = {"WORKER_PORT": str(free_port())} if name != "WORKER_PORT" else {}
    env = {"MODEL_SERVER_URL": "http://127.0.0.1:1", "UNSECURED": "true", **port, name: value}
    command = [sys.executable, PLAIN]
    async with ProcessWithPort(command, env=env) as process:
        assert await process.ended() == 1
        said = "\n".join(process.output)
        assert name in said
        assert "Traceback" not in said


class ProcessWithPort(WorkerProcess):
    """One whose environment is as it is given, with a port that may be none."""

    def __init__(self, command: list[str], *, env: Mapping[str, str]) -> None:
        given = env.get("WORKER_PORT", "")
        super().__init__(command, env={**env, "WORKER_PORT": given if given.isdigit() else str(free_port())}, cwd=ROOT)
        self.env["WORKER_PORT"] = given


async def test_a_worker_starts_on_a_laptop_with_nothing_but_its_model() -> None:
    """Fault 38: no account, no engine, no address; UNSECURED says that nobody is checked."""
    async with FakeModel() as model:
        port = free_port()
        bare = {
            "MODEL_SERVER_URL": model.url,
            "UNSECURED": "true",
            "WORKER_HOST": "127.0.0.1",
            "WORKER_PORT": str(port),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = ["env", "-i", *(f"{name}={value}" for name, value in bare.items()), sys.executable, PLAIN]
        async with WorkerProcess(command, env={"WORKER_PORT": str(port)}, cwd=ROOT) as process:
            await process.ready()
            auth = {"cost": 1, "endpoint": "", "reqnum": 1, "url": "", "signature": ""}
            async with aiohttp.ClientSession(process.url) as http:
                for path in ("/generate", "/authored"):
                    async with http.post(path, json={"auth_data": auth, "payload": payload()}) as answered:
                        assert (answered.status, await answered.json()) == (200, {"text": "hello"})
            said = "\n".join(process.output)
            assert "UNSECURED is set" in said
            assert "reports to nobody" in said


async def test_a_worker_that_can_check_nobody_says_what_is_missing() -> None:
    """Fault 38: neither an engine nor UNSECURED, so every request would be refused for ever."""
    async with FakeModel() as model:
        env = {"MODEL_SERVER_URL": model.url, "UNSECURED": ""}
        async with WorkerProcess([PLAIN], env=env, cwd=ROOT) as process:
            await process.ready()
            await process.output.where(lambda line: "UNSECURED=true" in line and "REPORT_ADDR" in line)


# --- 34: the engine hears of failed starts --------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"-m pyworker.cli run {BROKEN / 'misspelt_backend.py'}", "did you mean 'allow_parallel_requests'?"),
        (f"-m pyworker.cli run {BROKEN / 'misspelt_start.py'}", "did you mean 'port'?"),
        (f"{BROKEN / 'misspelt_start.py'}", "did you mean 'port'?"),
        (f"-m pyworker.cli run {BROKEN / 'misspelt_import.py'}", "a_package_that_nobody_has_installed"),
        (f"-m pyworker.cli run {BROKEN / 'not_there.py'}", "there is no worker"),
        (f"-m pyworker.cli run {BROKEN}", "neither server.py nor worker.py"),
        (f"{BROKEN / 'twice.py'}", "/generate"),
        (f"-m pyworker.cli run {BROKEN / 'twice.py'}", "/generate"),
    ],
)
async def test_the_engine_hears_of_a_failed_start(command: str, reason: str) -> None:
    """Fault 34."""
    async with FakeEngine(mtoken="the-mtoken") as engine:
        async with WorkerProcess(command.split(), engine=engine, cwd=ROOT) as process:
            assert await process.ended() == 1
        report = await engine.reports.next()
        assert (report.id, report.url) == (1, process.url)
        assert reason in (report.error_msg or "")
        assert reason in "\n".join(process.output)


@pytest.mark.parametrize("command", [PLAIN, f"-m pyworker.cli run {PLAIN}"])
async def test_a_port_that_is_taken_is_told_to_the_log_and_the_engine(command: str) -> None:
    """Fault 34."""
    async with FakeModel() as other, FakeEngine(mtoken="the-mtoken") as engine:
        env = {"MODEL_SERVER_URL": other.url, "WORKER_PORT": str(other.port)}
        async with WorkerProcess(command.split(), engine=engine, env=env, cwd=ROOT) as process:
            assert await process.ended() == 1
        assert f"cannot listen on 127.0.0.1:{other.port}" in ((await engine.reports.next()).error_msg or "")
        assert any("set WORKER_PORT to a free port" in line for line in process.output)


async def test_an_environment_that_is_not_complete_is_told_to_the_engine_as_well_as_it_goes() -> None:
    """Fault 34."""
    async with FakeEngine(mtoken="the-mtoken") as engine:
        env = {"MODEL_SERVER_URL": "http://127.0.0.1:1", "PUBLIC_IPADDR": ""}
        async with WorkerProcess([PLAIN], engine=engine, env=env, cwd=ROOT) as process:
            assert await process.ended() == 1
        report = await engine.reports.next()
        assert "PUBLIC_IPADDR is missing" in (report.error_msg or "")
        assert report.url == ""


async def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    """Fault 34, and the worker's side of 36: an error page that was stored as the certificate."""
    (tmp_path / "crt").write_text("<html>502 Bad Gateway</html>")
    env = {"MODEL_SERVER_URL": "http://127.0.0.1:1", "USE_SSL": "true"}
    env |= {"SSL_CERT": str(tmp_path / "crt"), "SSL_KEY": str(tmp_path / "key")}
    async with FakeEngine(mtoken="the-mtoken") as engine:
        async with WorkerProcess([PLAIN], engine=engine, env=env, cwd=ROOT) as process:
            assert await process.ended() == 1
        assert "no certificate and key" in ((await engine.reports.next()).error_msg or "")


# --- 22: code that blocks -------------------------------------------------------------------------


async def test_a_parser_that_blocks_is_named_in_the_log_and_the_reports_go_on(tmp_path: Path) -> None:
    """Fault 22: with nothing new in them, so that nothing is told twice."""
    async with plain_worker() as worker:
        assert await worker.post("/generate") == 200
        await worker.engine.reports.where(lambda report: report.new_load)
        asked = asyncio.create_task(worker.post("/blocking", payload(str(tmp_path / "go on"))))
        await worker.process.output.where(lambda line: "the event loop is blocked" in line)
        worker.engine.reports.clear()
        repeated = await worker.engine.reports.at_least(3)
        assert [report.new_load for report in repeated] == [0.0] * 3
        (tmp_path / "go on").touch()
        assert await asked == 200
        line = next(line for line in worker.process.output if "the event loop is blocked" in line)
        assert "worker.py" in line
        assert "from_json_msg" in line
        await worker.engine.reports.where(lambda report: report.new_load)
        async with worker.http.get("/pyworker/metrics") as page:
            assert "pyworker_event_loop_blocked_total 1.0" in await page.text()


# --- TLS ------------------------------------------------------------------------------------------


def write_certificate(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 and its key, in files; what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "crt").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return ssl.create_default_context(cafile=str(folder / "crt"))


async def test_a_worker_serves_tls_and_plain_http_only_on_loopback_for_callbacks(tmp_path: Path) -> None:
    """USE_SSL: its url, which is signed, is https."""
    trusts = write_certificate(tmp_path)
    http_port = free_port()
    env = {"USE_SSL": "true", "SSL_CERT": str(tmp_path / "crt"), "SSL_KEY": str(tmp_path / "key")}
    async with plain_worker(env={**env, "WORKER_HTTP_PORT": str(http_port)}, tls=trusts) as worker:
        assert worker.process.url.startswith("https://")
        assert [await worker.post(path) for path in ("/generate", "/authored", "/generate_stream")] == [200] * 3
        large = payload("x" * 3_000_000)
        assert [await worker.post(path, large) for path in ("/generate", "/authored")] == [200] * 2
        await worker.engine.reports.where(lambda report: report.url == worker.process.url)
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{http_port}/pyworker/health") as plain:
                assert plain.status == 200
            with pytest.raises(aiohttp.ClientError):
                await http.get(worker.process.url.replace("https", "http") + "/pyworker/health")
        worker.process.terminate()
        assert await worker.process.ended() == 0
