"""A worker that cannot start says why, to its log and to the engine: nobody else would learn of it.

What fails in ``start_server`` and under ``pyworker run`` is caught there. A file that is run by itself may fail before,
in making its Backend, say: for that there is a hook, which ``pyworker.backend`` sets when it is imported.
"""

from __future__ import annotations

import http.client
import json
import logging
import sys
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

from pyworker.errors import ConfigurationError, PyWorkerError, WorkerFileFailed
from pyworker.settings import WorkerSettings, environment
from pyworker.version import __version__

__all__ = ["serving_began", "tell_engine", "tell_of_failed_start", "watch_main_program"]

log = logging.getLogger("pyworker.serve")

WORKERS_FILES: Final = frozenset({"server.py", "worker.py"})
ANSWER_S: Final = 3.0
ALL_ADDRESSES_S: Final = 10.0  # whatever name servers and networks do

serving_began = threading.Event()  # whether the worker of this process has come to serving


def tell_of_failed_start(env: Mapping[str, str], error: Exception) -> None:
    """To the log, where only what is no mistake of the author's needs a trace, and to the engine."""
    cause = error.__cause__ if isinstance(error, WorkerFileFailed) else error
    told = isinstance(cause, PyWorkerError | SystemExit | SyntaxError)
    first, *others = _reason(error).splitlines() or [""]
    log.critical("the worker cannot start: %s", first, exc_info=None if told else cause)
    for line in others:  # each problem has its own
        log.critical("%s", line)
    tell_engine(env, _reason(error))


def watch_main_program() -> None:
    """If this program is a worker's ``server.py`` or ``worker.py``, the engine hears of an exception that ends it."""
    main_file = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    if Path(main_file).name not in WORKERS_FILES:
        return
    say = sys.excepthook

    def say_and_tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        say(kind, error, trace)
        if isinstance(error, Exception) and not serving_began.is_set():
            tell_engine(environment(), _reason(error))

    sys.excepthook = say_and_tell


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, PyWorkerError) else f"{type(error).__name__}: {error}"


def tell_engine(env: Mapping[str, str], reason: str) -> None:
    """One report with ``error_msg``, as good as the environment allows; what fails here is only logged."""
    addrs = [part.strip().rstrip("/") for part in env.get("REPORT_ADDR", "").split(",") if part.strip()]
    worker_id = env.get("CONTAINER_ID", "")
    if not addrs or not worker_id.isdigit():
        return
    report = {
        "id": int(worker_id),
        "mtoken": env.get("MASTER_TOKEN", ""),
        "version": f"pyworker-{__version__}",
        "error_msg": reason[:2000],
        "url": _url_or_nothing(env),
    }
    telling = threading.Thread(target=_tell_first, args=(addrs, json.dumps(report).encode()), daemon=True)
    telling.start()
    telling.join(ALL_ADDRESSES_S)


def _tell_first(addrs: list[str], body: bytes) -> None:
    for addr in addrs:
        if not addr.startswith(("http://", "https://")):
            continue
        request = urllib.request.Request(  # noqa: S310 - checked in the line above
            addr + "/worker_status/", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S):  # noqa: S310
                return
        except (OSError, http.client.HTTPException) as error:
            log.warning("the engine at %s could not be told: %s", addr, error)


def _url_or_nothing(env: Mapping[str, str]) -> str:
    try:
        return WorkerSettings.from_env(env).url
    except ConfigurationError:
        return ""
