"""start_server.sh in a root directory of its own, with a real engine: what it makes, tells, and does over and over."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pyworker.net import tls_for_workers
from pyworker.testing import FakeEngine, FakeModel, WorkerProcess, answer, by_hand, free_port
from tests.support.engines import API_KEY, EngineUnderTest, an_engine
from tests.support.source import ROOT

SCRIPT = ROOT / "start_server.sh"
WORKER = """
from aiohttp import web
from pyworker import Backend, PassThroughHandler, start_server
backend = Backend(allow_parallel_requests=True, fixed_throughput=100.0)
async def version(request):
    return web.Response(text="{version}")
start_server(backend, [*backend.routes(PassThroughHandler("/generate")), web.get("/version", version)])
"""
CRASH = """
import pathlib, sys
starts = pathlib.Path("starts")
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
if len(starts.read_text()) <= 2:
    print("a prompt")
    sys.exit("a \\"crash\\" on C:\\\\gpu, w\u00e4hrend des Ladens")
"""

pytestmark = [
    pytest.mark.limit_s(120),
    pytest.mark.skipif(
        sys.platform != "linux" or not all(map(shutil.which, ("bash", "curl", "git", "openssl"))),
        reason="not on Linux, or bash, curl, git or openssl is not installed",
    ),
]


class Machine:
    """A rented machine: its root directory, its variables, its model server, and the repository of its worker."""

    def __init__(self, folder: Path, model: FakeModel) -> None:
        self.root = folder / "root"
        self.repository = folder / "repository"
        self.log = self.root / "var" / "model.log"
        self.log.parent.mkdir(parents=True)
        self.log.write_text("")
        self.port = free_port()
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYWORKER_ROOT": str(self.root),
            "PYWORKER_RETRY_S": "0",
            "USE_SYSTEM_PYTHON": "true",
            "USE_SSL": "false",
            "PYWORKER_REPO": str(self.repository),
            "MODEL_SERVER_URL": model.url,
            "WORKER_HOST": "127.0.0.1",
            "WORKER_PORT": str(self.port),
            f"VAST_TCP_PORT_{self.port}": str(self.port),
            "PUBLIC_IPADDR": "127.0.0.1",
            "CONTAINER_ID": "7",
            "MASTER_TOKEN": "the-secret",
            "UNSECURED": "false",
        }

    def publish(self, name: str, text: str) -> None:
        """A new version of the worker's repository."""
        path = self.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if not (self.repository / ".git").exists():
            self.git("init", "--quiet")
        self.git("add", "--all")
        self.git(
            "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "--quiet", "--message", "a version"
        )

    def git(self, *args: str) -> None:
        """Run git in the repository."""
        subprocess.run(["git", *args], cwd=self.repository, check=True)  # noqa: S603, S607

    def start(self, **env: str) -> WorkerProcess:
        """The script, for ``async with``. What is empty is missing."""
        return WorkerProcess(["bash", str(SCRIPT)], env={**self.env, **env}, cwd=self.root)

    def told(self, engine: FakeEngine) -> None:
        """Report to this fake."""
        self.env |= {"REPORT_ADDR": engine.url}

    async def join(self, engine: EngineUnderTest) -> None:
        """Get a token of this engine."""
        token = await engine.token()
        assert token.ticket_key
        assert token.ticket_key_id
        self.env |= {
            "REPORT_ADDR": engine.url,
            "MASTER_TOKEN": token.mtoken,
            "PYWORKER_TICKET_KEY": token.ticket_key,
            "PYWORKER_TICKET_KEY_ID": token.ticket_key_id,
        }

    async def version(self) -> str:
        """Of the worker that runs."""
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.port}/version") as response:
            return await response.text()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with FakeModel() as model:
        made = Machine(tmp_path, model)
        await asyncio.to_thread(made.publish, "worker.py", WORKER.format(version="one"))
        yield made


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with FakeEngine() as made:
        yield made


async def error_told(engine: FakeEngine) -> str:
    """The next report with an error."""
    report = await engine.reports.where(lambda report: report.error_msg)
    return report.error_msg or ""


# --- with a real engine -----------------------------------------------------------------------------


async def test_a_machine_becomes_a_worker_with_its_engines_certificate(machine: Machine) -> None:
    async with an_engine() as engine:
        await machine.join(engine)
        certificate, key = (machine.root / "etc" / f"instance.{name}" for name in ("crt", "key"))
        async with machine.start(USE_SSL="true") as process:
            await process.ready()
            async with engine.http.get(f"{engine.url}/static/jvastai_root.cer") as response:
                trusting = tls_for_workers(await response.read())
            async with engine.http.get(f"{process.url}/pyworker/health", ssl=trusting) as health:
                assert health.status == 200
            while await states(engine) != ["IDLE"]:  # noqa: ASYNC110 - a person would look again, too
                await asyncio.sleep(0.05)
            assert key.stat().st_mode & 0o777 == 0o600
            before = certificate.read_bytes()
            process.terminate()
            assert await process.ended() == 0
        async with machine.start(USE_SSL="true") as process:
            await process.ready()
        assert certificate.read_bytes() == before  # it is good for a year


async def states(engine: EngineUnderTest) -> list[str]:
    _, workers = await engine.post("/get_endpoint_workers/", {"id": 1, "api_key": API_KEY})
    return [worker["status"] for worker in workers]


async def test_the_newest_version_is_fetched_when_the_worker_is_updated(machine: Machine) -> None:
    async with an_engine() as engine:
        await machine.join(engine)
        async with machine.start() as process:
            await process.ready()
            assert await machine.version() == "one"
            await asyncio.to_thread(machine.publish, "worker.py", WORKER.format(version="two"))
            key = {"Authorization": f"Bearer {API_KEY}"}
            assert (await engine.post("/update_workers/", {"workergroup_id": 1}, headers=key))[0] == 200
            await process.output.where(lambda line: "asks for the newest version" in line)
            await process.ready()
            assert await machine.version() == "two"


# --- certificates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 502])
async def test_an_error_page_is_never_stored_as_a_certificate(
    machine: Machine, engine: FakeEngine, status: int
) -> None:
    """Fault 36."""
    machine.told(engine)
    engine.on("/api/v0/sign_cert/", answer("<html>Bad gateway</html>", status=status))
    async with machine.start(USE_SSL="true") as process:
        assert await process.ended(wait_s=60.0) == 1
    told = await error_told(engine)
    assert "asking for a certificate" in told
    assert "<html>Bad gateway</html>" in told
    assert not list((machine.root / "etc").iterdir())
    assert sum(request.path == "/api/v0/sign_cert/" for request in engine.requests) == 5


async def test_a_certificate_for_another_key_is_none(machine: Machine, engine: FakeEngine, tmp_path: Path) -> None:
    machine.told(engine)
    made = "req -x509 -newkey rsa:2048 -nodes -subj /CN=other -keyout other.key -out other.crt"
    await asyncio.to_thread(subprocess.run, ["openssl", *made.split()], cwd=tmp_path, check=True, capture_output=True)
    engine.on("/api/v0/sign_cert/", answer((tmp_path / "other.crt").read_bytes()))
    async with machine.start(USE_SSL="true") as process:
        assert await process.ended(wait_s=60.0) == 1
    assert "answered no certificate" in await error_told(engine)


# --- what is missing or fails -----------------------------------------------------------------------


async def test_all_that_is_missing_is_named_at_once(machine: Machine) -> None:
    """Fault 33."""
    names = ["REPORT_ADDR", "MASTER_TOKEN", "CONTAINER_ID", "PUBLIC_IPADDR", f"VAST_TCP_PORT_{machine.port}"]
    nothing = dict.fromkeys([*names, "PYWORKER_REPO"], "")
    async with machine.start(**nothing, ROTATE_MODEL_LOG="true") as process:
        assert await process.ended() == 1
    said = "\n".join(process.output)
    assert all(f"  - {name} is missing: " in said for name in [*names, "BACKEND", "MODEL_LOG"])


async def test_what_is_wrong_is_told_to_the_engine_that_is_known(machine: Machine, engine: FakeEngine) -> None:
    machine.told(engine)
    async with machine.start(PUBLIC_IPADDR="", **{f"VAST_TCP_PORT_{machine.port}": "none"}) as process:
        assert await process.ended() == 1
    told = await error_told(engine)
    assert "  - PUBLIC_IPADDR is missing: the address under which clients reach" in told
    assert f"  - VAST_TCP_PORT_{machine.port} is no number" in told
    assert (engine.reports[0].id, engine.reports[0].mtoken) == (7, "the-secret")


async def test_the_engine_hears_of_a_step_that_fails_and_sees_no_password(machine: Machine, engine: FakeEngine) -> None:
    machine.env["REPORT_ADDR"] = f"http://127.0.0.1:{free_port()}, {engine.url}/"  # the first one is not there
    async with machine.start(PYWORKER_REPO="http://user:pass-word@127.0.0.1:9/workers.git") as process:
        assert await process.ended(wait_s=60.0) == 1
    told = await error_told(engine)
    assert told.startswith("fetching http://127.0.0.1:9/workers.git: ")
    assert not any("pass-word" in text for text in [told, *process.output])


async def test_a_folder_that_cannot_be_made_is_told(machine: Machine, engine: FakeEngine, tmp_path: Path) -> None:
    machine.told(engine)
    (tmp_path / "file").write_text("")
    async with machine.start(WORKSPACE_DIR=str(tmp_path / "file" / "folder")) as process:
        assert await process.ended() == 1
    assert "set WORKSPACE_DIR" in await error_told(engine)


async def test_a_repository_without_a_worker_is_told(machine: Machine, engine: FakeEngine) -> None:
    machine.told(engine)
    await asyncio.to_thread((machine.repository / "worker.py").rename, machine.repository / "other.py")
    await asyncio.to_thread(machine.publish, "README.md", "nothing here")
    async with machine.start(BACKEND="mine") as process:
        assert await process.ended() == 1
    assert "no worker.py or server.py in workers/mine: set BACKEND" in await error_told(engine)


async def test_a_worker_that_crashes_is_started_again_and_each_time_reported(
    machine: Machine, engine: FakeEngine
) -> None:
    machine.told(engine)
    await asyncio.to_thread(machine.publish, "worker.py", CRASH + WORKER.format(version="third"))
    async with machine.start() as process:
        await process.ready()
        assert await machine.version() == "third"
    told = [report.error_msg or "" for report in engine.reports if "is started again" in (report.error_msg or "")]
    assert len(told) == 2
    assert told[0].startswith("the worker ended with status 1 and is started again in 0 s: ")
    assert not any("a prompt" in text for text in told)
    assert "a prompt" in (machine.root / "workspace" / "pyworker.log").read_text() + "".join(process.output)
    assert told[0].endswith('a "crash" on C:\\gpu, w??hrend des Ladens')


async def test_a_pause_between_two_starts_ends_when_the_script_is_to_end(machine: Machine, engine: FakeEngine) -> None:
    machine.told(engine)
    await asyncio.to_thread(machine.publish, "worker.py", "import os\nos._exit(3)")
    async with machine.start(PYWORKER_RETRY_S="60") as process:
        assert "status 3 and is started again in 60 s" in await error_told(engine)
        process.terminate()
        assert await process.ended() == 0


# --- starting, stopping, updating ---------------------------------------------------------------------


async def test_the_worker_drains_when_the_script_is_told_to_end(machine: Machine, engine: FakeEngine) -> None:
    machine.told(engine)
    machine.env["UNSECURED"] = "true"
    async with (
        FakeModel() as model,
        machine.start(MODEL_SERVER_URL=model.url) as process,
        aiohttp.ClientSession() as http,
    ):
        model.on("/generate", by_hand)
        await process.ready()
        body = engine.envelope(engine.sign(process.url), {})
        asked = asyncio.create_task(http.post(f"{process.url}/generate", json=body))
        request = await model.requests.next()
        process.terminate()
        await process.answers(status=503)
        await request.answer({"late": True})
        assert await (await asked).json() == {"late": True}
        assert await process.ended() == 0


async def test_what_was_fetched_is_kept_until_an_update_is_forced(machine: Machine, engine: FakeEngine) -> None:
    machine.told(engine)
    forced = machine.root / ".force_update"
    for name, expected in [("one", "one"), ("two", "one"), ("three", "three")]:
        await asyncio.to_thread(machine.publish, "worker.py", WORKER.format(version=name))
        if name == "three":
            forced.touch()
        async with machine.start() as process:
            await process.ready()
            assert await machine.version() == expected
    assert not forced.exists()


async def test_an_update_that_is_forced_and_cannot_be_fetched_is_tried_again(
    machine: Machine, engine: FakeEngine
) -> None:
    machine.told(engine)
    async with machine.start() as process:
        await process.ready()
    forced, away = machine.root / ".force_update", machine.root / "away"
    forced.touch()
    await asyncio.to_thread(machine.repository.rename, away)
    async with machine.start() as process:
        await process.ready()
        assert forced.exists()
    await asyncio.to_thread(away.rename, machine.repository)
    async with machine.start() as process:
        await process.ready()
    assert not forced.exists()


def test_the_workers_log_has_an_end_and_what_was_before_it(tmp_path: Path) -> None:
    log = tmp_path / "pyworker.log"
    said = "".join(f"line {number}\n" for number in range(10)) + "the end"
    done = subprocess.run(  # noqa: S603 - our own
        ["bash", str(SCRIPT), "--step", "keep_log", str(log), "30"],  # noqa: S607
        input=said,
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout == said + "\n"
    before = log.with_name("pyworker.log.old").read_text()
    assert before + log.read_text() == said.partition("line 5")[1] + said.partition("line 5")[2] + "\n"
    assert len(before) < 30 + len("line 9\n")


async def test_a_named_version_is_fetched(machine: Machine, engine: FakeEngine) -> None:
    machine.told(engine)
    await asyncio.to_thread(machine.git, "tag", "v1")
    await asyncio.to_thread(machine.publish, "worker.py", WORKER.format(version="two"))
    async with machine.start(PYWORKER_REF="v1") as process:
        await process.ready()
        assert await machine.version() == "one"


async def test_an_update_that_cannot_be_fetched_leaves_the_version_before_and_is_told(
    machine: Machine, engine: FakeEngine
) -> None:
    machine.told(engine)
    async with machine.start() as process:
        await process.ready()
        await asyncio.to_thread(machine.repository.rename, machine.root / "away")
        async with aiohttp.ClientSession() as http:
            await http.post(f"{process.url}/pyworker/update", headers={"Authorization": "Bearer the-secret"})
        assert (await error_told(engine)).startswith(f"fetching {machine.repository}: ")
        await process.ready()
        assert await machine.version() == "one"


@pytest.mark.parametrize("name", ["workers/mine/worker.py", "workers/mine/server.py"])
async def test_the_worker_is_where_backend_says(machine: Machine, engine: FakeEngine, name: str) -> None:
    machine.told(engine)
    await asyncio.to_thread((machine.repository / "worker.py").unlink)
    await asyncio.to_thread(machine.publish, name, WORKER.format(version=name))
    async with machine.start(BACKEND="mine") as process:
        await process.ready()
        assert await machine.version() == name


async def test_the_models_log_of_an_earlier_run_is_moved_away(machine: Machine, engine: FakeEngine) -> None:
    """Fault 7."""
    machine.told(engine)
    machine.log.write_text("loaded\n")
    async with machine.start(ROTATE_MODEL_LOG="true", MODEL_LOG=str(machine.log)) as process:
        await process.output.where(lambda line: "serving at" in line)
        assert not machine.log.exists()
        assert machine.log.with_name("model.log.old").read_text() == "loaded\n"


async def test_no_secret_is_on_a_command_line(machine: Machine, engine: FakeEngine, tmp_path: Path) -> None:
    """Where every user of the machine sees it."""
    machine.told(engine)
    seen, wrappers = tmp_path / "seen", tmp_path / "bin"
    wrappers.mkdir()
    for program in ("curl", "openssl", "git", "sed", "tee", "python3"):
        wrapper = wrappers / program
        wrapper.write_text(f'#!/bin/bash\nprintf "%s\\n" "${{0##*/}} $*" >>{seen}\nexec {shutil.which(program)} "$@"\n')
        wrapper.chmod(0o755)
    python = Path(sys.executable).parent
    async with machine.start(USE_SSL="true", PATH=f"{wrappers}:{python}:{os.environ['PATH']}") as process:
        await process.ended(wait_s=60.0)
    commands = seen.read_text()
    assert "sign_cert" in commands
    assert "/worker_status/" in commands
    assert "the-secret" not in commands


async def test_packages_are_installed_with_uv_into_an_environment_of_its_own(
    machine: Machine, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_SYSTEM_CERTS", "true")
    reached = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", str(machine.root / "t"), "iniconfig"],
        capture_output=True,
    )
    if reached.returncode:
        pytest.skip("no package index can be reached")
    machine.told(engine)
    await asyncio.to_thread(machine.publish, "requirements.txt", "iniconfig\n")
    async with machine.start(USE_SYSTEM_PYTHON="") as process:
        await process.answers(status=200, wait_s=100.0)
        environment = machine.root / "workspace" / "worker-env"
        assert list(environment.glob("lib/python3*/site-packages/iniconfig"))
        assert list(environment.glob("lib/python3*/site-packages/aiohttp"))


# --- the script itself --------------------------------------------------------------------------------


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "")


def test_its_functions_are_short() -> None:
    lines = SCRIPT.read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith("() {")]
    assert len(starts) > 20
    assert max(lines.index("}", start) - start for start in starts) <= 30
