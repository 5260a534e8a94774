"""A worker with its model server beside it, or anew at each change of its files."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pyworker import logs
from pyworker.errors import ConfigurationError
from pyworker.instance import processes
from pyworker.instance.processes import Child
from pyworker.instance.wakeup import Wakeup
from pyworker.loading import Target, find
from pyworker.running.plan import Plan
from pyworker.settings import LogSettings, environment, state_folder
from pyworker.worker.failed_start import tell_of_failed_start

__all__ = ["make_plan", "run_beside"]

_RELOADED_DRAIN_S: Final = 3.0  # whoever works on a worker does not want to wait for its streams
_OPERATOR: Final = re.compile(r"[|&;]|&&|\|\||\d?>>?(?:&\d?)?|\d>&\d|&>|<")
_LONGEST_WAIT_S: Final = 60.0


def make_plan(name: str, *, model_command: str | None, model_log: str | None, reload: bool) -> Plan:
    """What to run beside each other. Raises ConfigurationError when the target or the command is none."""
    env = environment()
    target = find(name)
    default_s = _RELOADED_DRAIN_S if reload else 30.0
    return Plan(
        worker=[sys.executable, "-m", "pyworker.cli", "run", name],
        model=None if model_command is None else _words(model_command),
        model_log=str(Path(model_log or env.get("MODEL_LOG") or _log_of(target, env)).absolute()),
        drain_s=_number(env.get("PYWORKER_DRAIN_S")) or default_s,
        watched=str(target.folder) if reload else "",
        trial=[sys.executable, "-m", "pyworker.running.trial", name],
    )


def run_beside(
    name: str, *, model_command: str | None = None, model_log: str | None = None, reload: bool = False
) -> int:
    """Run the worker ``name`` with its model server, or anew at each change, until they end or we are asked to.

    Returns the exit status. Whatever keeps it from starting is logged, and the engine is told.
    """
    try:
        plan = make_plan(name, model_command=model_command, model_log=model_log, reload=reload)
    except ConfigurationError as error:
        logs.set_up(LogSettings.from_env(environment()))
        tell_of_failed_start(environment(), error)
        return 1
    return _watched_over(plan)


def _watched_over(plan: Plan) -> int:
    """The process that watches over them is tied to us: however we end, it ends them; and we end what it leaves."""
    processes.adopt_orphans()
    wakeup = _wakeup()
    command = [sys.executable, "-P", "-m", "pyworker.running", plan.to_json()]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)  # noqa: S603 - our own
    child = Child("watcher", process, Path(os.devnull))
    while child.status is None:
        wakeup.wait(_LONGEST_WAIT_S)
        processes.reap([child])
        if wakeup.stop and child.status is None:
            os.kill(child.pid, signal.SIGQUIT if wakeup.at_once else signal.SIGTERM)
            wakeup.stop = False  # asked again, it is told again
    processes.end_orphans()
    return child.status if child.status >= 0 else 128 - child.status


def _wakeup() -> Wakeup:
    """A terminal that is closed ends us, unless we were told to outlive it."""
    outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wakeup = Wakeup(tied=False)
    if not outlives:
        signal.signal(signal.SIGHUP, _end)
    return wakeup


def _end(_number: int, _frame: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"--model-command cannot be taken apart ({error}): quote it as for a shell") from None
    if not words:
        raise ConfigurationError("--model-command is empty: give the command of the model server")
    _refuse_what_only_a_shell_understands(words)
    return words


def _refuse_what_only_a_shell_understands(words: list[str]) -> None:
    name, is_given, _ = words[0].partition("=")
    if is_given and name.isidentifier():
        raise ConfigurationError(f"--model-command begins with {words[0]}, and no shell reads it: put `env` before it")
    operator = next((word for word in words if _OPERATOR.fullmatch(word)), None)
    if operator is not None:
        raise ConfigurationError(
            f"--model-command holds {operator!r}, and no shell reads it: leave it out (its output is logged already), "
            "or give all of it to one: sh -c '...'"
        )


def _log_of(target: Target, env: Mapping[str, str]) -> Path:
    """A fixed place for each worker's file, so that what looks for the log finds it after a restart."""
    given = env.get("PYWORKER_STATE_DIR")
    if given:
        return Path(given) / "model.log"
    digest = hashlib.sha256(str(target.file).encode()).hexdigest()[:8]
    return state_folder(env) / "run" / f"{target.folder.name}-{digest}" / "model.log"


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:  # the worker says what is wrong with it
        return 0.0
