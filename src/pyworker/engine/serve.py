"""An engine as a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from pyworker.engine.app import RunningEngine, running_engine
from pyworker.engine.engine import EngineConfig
from pyworker.engine.providers.base import Provider

__all__ = ["EngineConfig", "run", "serve", "until_stopped"]


def serve(
    config: EngineConfig,
    folder: Path | None,
    announce: Callable[[RunningEngine], None],
    providers: Callable[[], Mapping[str, Provider]] = dict,
) -> None:
    """Serve until SIGTERM or SIGINT; ``announce`` is called once it listens. Raises ConfigurationError, StoreError."""
    run(_serve(config, folder, announce, providers))


async def _serve(
    config: EngineConfig,
    folder: Path | None,
    announce: Callable[[RunningEngine], None],
    providers: Callable[[], Mapping[str, Provider]],
) -> None:
    stop = until_stopped()
    async with running_engine(config, folder, providers()) as running:
        announce(running)
        await stop.wait()


def until_stopped() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run in an event loop of its own: uvloop's where there is one, for it halves the cost of a call."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform

        loop_factory = uvloop.new_event_loop
    except ImportError:
        loop_factory = None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(work)
