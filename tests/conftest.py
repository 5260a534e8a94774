"""What holds for every test: it does not hang, does not block the event loop, leaves nothing behind, and does not
see this machine's own settings."""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import importlib.util
import inspect
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from blockbuster import blockbuster_ctx
from hypothesis import settings

from tests.support import leftovers

LIMIT_S = 60.0  # generous: the machine may be busy with other things
GRACE_S = 15.0  # for fixtures to be torn down after a test ran into its limit

# what is dear to set up, and too much to have twice at the same time
TOGETHER = {"tests/integration/test_ray_": "a Ray cluster"}

# no deadline: how fast a test is depends on who else uses the machine
settings.register_profile("pyworker", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("pyworker")


def pytest_configure(config: pytest.Config) -> None:
    """Name our markers."""
    config.addinivalue_line("markers", f"limit_s(seconds): how long the test may take (default {LIMIT_S:g})")
    config.addinivalue_line("markers", "may_block: the test blocks the event loop on purpose")
    config.addinivalue_line("markers", "uvloop_too: the test runs on uvloop besides, as workers do")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """asyncio's own event loop, and uvloop's for what depends on how a loop treats its sockets."""
    own: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    return {**own, "uvloop": uvloop.new_event_loop} if item.get_closest_marker("uvloop_too") else own


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every async test its time limit, which ends it in an orderly way."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _limited(item.obj, _limit_s(item))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side, those of the files TOGETHER run in one process, one after the other."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - it may not be installed

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((group for prefix, group in TOGETHER.items() if nodeid.startswith(prefix)), nodeid)

    return Scheduling(config, log)


def _limit_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("limit_s")
    return float(marker.args[0]) if marker else LIMIT_S


def _limited(test: Callable[..., Any], limit_s: float) -> Callable[..., Any]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(limit_s):
            await test(*args, **kwargs)

    return limited


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """The limit for all that asyncio cannot end: sync tests, fixtures, a blocked loop."""
    limit_s = _limit_s(item) + GRACE_S

    def ring(_number: int, _frame: object) -> None:
        faulthandler.dump_traceback(file=sys.__stderr__)
        raise TimeoutError(f"the test took more than {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine the tests run on, and a state directory of the test's own."""
    for name in list(os.environ):
        if name.startswith(("PYWORKER_", "WORKER_", "MODEL_", "VAST_TCP_PORT_", "SSL_")) or name in _SETTINGS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYWORKER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


_SETTINGS = {
    "PUBLIC_IPADDR",
    "CONTAINER_ID",
    "REPORT_ADDR",
    "MASTER_TOKEN",
    "USE_SSL",
    "UNSECURED",
    "LOG_FORMAT",
    "LOG_LEVEL",
}


@pytest.fixture(autouse=True)
def _no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """A call of our code that blocks the event loop fails the test."""
    if request.node.get_closest_marker("may_block") or not inspect.iscoroutinefunction(request.function):
        yield
        return
    with blockbuster_ctx(_our_packages(), excluded_modules=["pyworker.testing"]):
        yield


@functools.cache
def _our_packages() -> list[str]:
    return [name for name in ("pyworker", "lib", "utils", "workers") if importlib.util.find_spec(name)]


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """No task and no process outlives the test that started it."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_no_tasks_left")
    _started_processes.clear()
    yield
    if _started_processes:
        leftovers.require_no_processes(tmp_path)


_started_processes: list[str] = []


def _note_process(event: str, _arguments: object) -> None:
    if event in {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}:
        _started_processes.append(event)


sys.addaudithook(_note_process)


@pytest.fixture
async def _no_tasks_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    await leftovers.require_no_tasks(before)
