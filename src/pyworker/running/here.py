"""A worker in this process."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pyworker import compat, logs
from pyworker.loading import Target, execute, find, never_served, where_it_failed
from pyworker.running.welcome import welcome
from pyworker.settings import LogSettings, environment
from pyworker.worker.failed_start import serving_began, tell_of_failed_start
from pyworker.worker.interception import tell_when_served

__all__ = ["run_target"]

_INTERRUPTED = 130


def run_target(name: str, env: Mapping[str, str] | None = None) -> int:
    """Run a worker: a folder with ``server.py`` or ``worker.py``, a Python file, or a module's name.

    Returns its exit status. Whatever keeps it from starting is logged, and the engine is told.
    """
    env = environment() if env is None else env
    logs.set_up(LogSettings.from_env(env))
    compat.install()
    if sys.stderr.isatty():
        tell_when_served(lambda backend, routes, port: _say(welcome(backend, routes, port, env)))
    serving_began.clear()
    try:
        status = _run(find(name))
        if not (status or serving_began.is_set()):
            raise never_served(name)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, log and engine are told
        tell_of_failed_start(env, error)
        return 1
    return status


def _say(lines: list[str]) -> None:
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def _run(target: Target) -> int:
    """Raises WorkerFileFailed when the file ends with an error before it serves."""
    try:
        execute(target)
    except SystemExit as error:
        if error.code and not serving_began.is_set():
            raise where_it_failed(target, error) from error
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except Exception as error:
        raise where_it_failed(target, error) from error
    return 0
