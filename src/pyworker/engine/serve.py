"""An engine as a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from pyworker.connections import raise_open_files_limit
from pyworker.engine.app import RunningEngine, running_engine
from pyworker.engine.core.deployment.reading import Deployment
from pyworker.engine.engine import EngineConfig
from pyworker.engine.providers.base import Provider

__all__ = ["EngineConfig", "run", "serve"]

Providers = Callable[[], Mapping[str, Provider]]


def serve(
    config: EngineConfig,
    folder: Path,
    announce: Callable[[RunningEngine], None],
    providers: Providers = dict,
    deployment: Deployment | None = None,
    leave: Callable[[RunningEngine], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT, with the endpoint that a deployment describes; a second signal is not needed.

    ``announce`` is called once it listens, ``leave`` before its workers are told to end. Raises ConfigurationError,
    StoreError, ProviderError; BadRequest when the deployment cannot take the place of what is there.
    """
    raise_open_files_limit()
    run(_serve(config, folder, announce, providers, deployment, leave))


async def _serve(
    config: EngineConfig,
    folder: Path,
    announce: Callable[[RunningEngine], None],
    providers: Providers,
    deployment: Deployment | None,
    leave: Callable[[RunningEngine], None],
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_engine(config, folder, providers()) as running:
        if deployment is not None:
            await running.management.deploy(deployment)
        announce(running)
        await stop.wait()
        leave(running)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run in an event loop of its own: uvloop's where there is one, for it halves the cost of a call."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform

        loop_factory = uvloop.new_event_loop
    except ImportError:
        loop_factory = None
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(work)
