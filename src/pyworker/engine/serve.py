"""An engine as a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from pyworker.engine.app import running_engine
from pyworker.engine.engine import EngineConfig

__all__ = ["EngineConfig", "serve"]


def serve(config: EngineConfig, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``announce(url)`` is called once it listens. Raises ConfigurationError."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, announce))


async def _serve(config: EngineConfig, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_engine(config) as url:
        announce(url)
        await stop.wait()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where there is one: it halves the cost of a call."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
