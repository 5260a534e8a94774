"""The proxies that are compared, and how each is started."""

from __future__ import annotations

import os
import secrets
import shutil
import string
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fake_engine import FakeEngine
from benchmarks.load.plan import Auth
from benchmarks.probe import serves
from benchmarks.processes import Processes, Running, free_port, listens, wait_until

__all__ = ["DIRECT", "PROXIES", "Proxy", "Site", "Target", "UnavailableError"]

ROOT = Path(__file__).resolve().parents[1]
SDK_VERSION = "1.9.1"
_LOADED_LINE = "infer server has started\n"
_TICKET_KEY_ID = "benchmark"


class UnavailableError(Exception):
    """This proxy cannot be measured on this machine; the message says why."""


@dataclass(frozen=True)
class Site:
    """Where the proxies are started: the model server they stand before, the engine they report to."""

    processes: Processes
    engine: FakeEngine
    model_port: int
    core: int
    work: Path


@dataclass(frozen=True)
class Target:
    """A started proxy, and what requests to it must carry; ``running`` is None for the model server itself."""

    port: int
    auth: Auth
    running: Running | None = None

    @property
    def group(self) -> int:
        """The process group whose CPU time and memory count; 0 when nothing is counted."""
        return self.running.group if self.running else 0


@dataclass(frozen=True)
class Proxy:
    """One row of the table."""

    name: str
    title: str
    start: Callable[[Site, str], Target]


def _start_direct(site: Site, name: str) -> Target:  # noqa: ARG001 (the shape of every start)
    return Target(site.model_port, Auth(f"http://127.0.0.1:{site.model_port}"))


def _start_nginx(site: Site, name: str) -> Target:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise UnavailableError("nginx is not installed")
    port, work = free_port(), site.work / name
    work.mkdir()
    template = string.Template((ROOT / "benchmarks" / "nginx.conf.template").read_text())
    user = "user root;" if os.geteuid() == 0 else ""
    config = work / "nginx.conf"
    config.write_text(template.substitute(work=work, port=port, model_port=site.model_port, user=user))
    command = [program, "-p", str(work), "-c", str(config)]
    running = site.processes.start(name, command, core=site.core, env={}, cwd=work, log=work / "log")
    wait_until(lambda: listens(port), running, "it listened")
    return Target(port, Auth(f"http://127.0.0.1:{port}"), running)


def _start_sdk(site: Site, name: str) -> Target:
    return _start_worker(site, name, [str(_sdk_python()), str(ROOT / "benchmarks/workers/sdk/worker.py")])


def _sdk_python() -> Path:
    """The interpreter of a venv with the SDK: PYWORKER_SDK_PYTHON, or one made here once."""
    if given := os.environ.get("PYWORKER_SDK_PYTHON"):
        return Path(given)
    venv = ROOT / "benchmarks" / ".work" / "sdk-venv"
    python, complete = venv / "bin" / "python", venv / "complete"
    if not complete.exists():
        _quietly([sys.executable, "-m", "venv", "--clear", str(venv)])
        _quietly([str(python), "-m", "pip", "install", "--quiet", f"vastai=={SDK_VERSION}"])
        complete.touch()
    return python


def _quietly(command: Sequence[str]) -> None:
    """Run a command that makes the SDK's venv; what it says is shown only when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=300, check=False)  # noqa: S603 (our own commands)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(str(error)) from error
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')[-1000:]}")


def _start_guide(site: Site, name: str) -> Target:
    return _start_worker(site, name, [sys.executable, "-m", "benchmarks.workers.guide.server"])


def _start_pass_through(site: Site, name: str) -> Target:
    return _start_worker(site, name, [sys.executable, "-m", "benchmarks.workers.pass_through.server"])


def _start_declared(site: Site, name: str) -> Target:
    return _start_worker(site, name, [sys.executable, "-m", "benchmarks.workers.declared.worker"])


def _start_generator(site: Site, name: str) -> Target:
    command = [sys.executable, "-m", "benchmarks.workers.declared.worker"]
    return _start_worker(site, name, command, env={"DECLARED": "generator"})


def _start_tickets(site: Site, name: str) -> Target:
    command = [sys.executable, "-m", "benchmarks.workers.pass_through.server"]
    return _start_worker(site, name, command, ticket_key=secrets.token_bytes(32))


def _start_worker(
    site: Site, name: str, command: Sequence[str], *, ticket_key: bytes = b"", env: Mapping[str, str] | None = None
) -> Target:
    """Start a worker, tell it through its model's log that the model is loaded, wait until it serves."""
    port, work = free_port(), site.work / name
    work.mkdir()
    url, model_log = f"http://127.0.0.1:{port}", work / "model.log"
    model_log.touch()
    env = {**_worker_env(site, port, work), "MODEL_LOG": str(model_log), **(env or {})}
    auth = Auth(url, signature=site.engine.sign(url))
    if ticket_key:
        env |= {"PYWORKER_TICKET_KEY": urlsafe_b64encode(ticket_key).decode(), "PYWORKER_TICKET_KEY_ID": _TICKET_KEY_ID}
        auth = Auth(url, ticket_key_id=_TICKET_KEY_ID, ticket_key=ticket_key.hex())
    running = site.processes.start(name, command, core=site.core, env=env, cwd=work, log=work / "log")
    wait_until(lambda: listens(port), running, "it listened")
    with model_log.open("a") as log:
        log.write(_LOADED_LINE)
    wait_until(lambda: serves(port, auth, reqnum=site.engine.reqnums()), running, "it served")
    return Target(port, auth, running)


def _worker_env(site: Site, port: int, work: Path) -> dict[str, str]:
    return {
        "WORKER_PORT": str(port),
        f"VAST_TCP_PORT_{port}": str(port),
        "PUBLIC_IPADDR": "127.0.0.1",
        "CONTAINER_ID": str(port),
        "REPORT_ADDR": site.engine.url,
        "MASTER_TOKEN": "benchmark",
        "USE_SSL": "false",
        "UNSECURED": "false",
        "MODEL_PORT": str(site.model_port),
        "PYTHONPATH": str(ROOT),
        "WORKER_HOST": "127.0.0.1",
        "PYWORKER_STATE_DIR": str(work),
    }


DIRECT = Proxy("direct", "no proxy", _start_direct)
PROXIES = (
    Proxy("sdk", f"SDK worker {SDK_VERSION}", _start_sdk),
    Proxy("nginx", "nginx, no checks", _start_nginx),
    Proxy("guide", "guide's handlers", _start_guide),
    Proxy("pass", "pass-through", _start_pass_through),
    Proxy("declared", "declared handlers", _start_declared),
    Proxy("generator", "declared, response_generator", _start_generator),
    Proxy("ticket", "with tickets", _start_tickets),
)
