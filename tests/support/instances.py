"""Small worlds for instances: processes that stand for a worker and a model server, and ways to wait for them."""

# ruff: noqa: ASYNC110, ASYNC240 - what is waited for are files and processes
from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from pyworker.engine.core.parameters import Launch, Resources
from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState, Provider

SECRET = "a-secret-that-nobody-may-see"  # noqa: S105
LOOK_AGAIN_S = 0.01

# runs until SIGTERM, says how it was started, and what it heard
SERVER = """
import signal, sys
def stop(*_):
    print("asked to stop", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
sys.stdout.write(" ".join(["started with", *sys.argv[1:]]) + "\\n")  # in one piece
sys.stdout.flush()
while True:
    signal.pause()
"""
# takes its time to drain
DRAINING = """
import signal, sys, time
def stop(*_):
    print("draining", flush=True)
    time.sleep(1)
    print("drained", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("started", flush=True)
while True:
    signal.pause()
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('started', flush=True); signal.pause()"
# lets a process of its own go, out of its group and session
IN_THE_BACKGROUND = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], start_new_session=True, stdout=subprocess.DEVNULL)
print("background", child.pid, flush=True)
{SERVER}
"""
SAYS_ENVIRONMENT = f"import json, os; print('environment', json.dumps(dict(os.environ)), flush=True)\n{SERVER}"


def python(script: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs it."""
    return ("{python}", "-c", script, *arguments)


def spec(
    instance_id: int = 1,
    *,
    worker: tuple[str, ...] = python(SERVER),
    model: tuple[str, ...] | None = python(SERVER),
    drain_s: float = 5.0,
    resources: Resources | None = None,
    **launch: Any,
) -> InstanceSpec:
    """An instance of two servers that do nothing."""
    launch_ = Launch(worker=worker, model=model, resources=resources or Resources(), **launch)
    return InstanceSpec(instance_id, "llm/default", launch_, {"MASTER_TOKEN": SECRET}, drain_s)


async def until(provider: Provider, state: InstanceState, instance_id: int = 1) -> Instance:
    """The instance as soon as it is in this state."""
    while True:
        for instance in await provider.list():
            if instance.id == instance_id and instance.state is state:
                return instance
        await asyncio.sleep(LOOK_AGAIN_S)


async def until_log(path: Path, text: str) -> str:
    """What the log holds as soon as the text stands in it."""
    while not path.exists() or text not in path.read_text():
        await asyncio.sleep(LOOK_AGAIN_S)
    return path.read_text()


def environment_in(log: str) -> dict[str, str]:
    """What a process that says its environment has said."""
    return json.loads(next(line for line in log.splitlines() if line.startswith("environment")).partition(" ")[2])


def pids(data_dir: Path, instance_id: int = 1) -> dict[str, int]:
    """Of the supervisor, the worker and the model server."""
    folder = data_dir / str(instance_id)
    groups = json.loads((folder / "groups.json").read_text())
    return {"supervisor": int((folder / "supervisor.lock").read_text()), **groups}


def runs(pid: int) -> bool:
    """Whether there is such a process, and not only its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_gone(*gone: int) -> None:
    """Until none of them runs."""
    while any(map(runs, gone)):
        await asyncio.sleep(LOOK_AGAIN_S)
