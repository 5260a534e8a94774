"""Commands as a user runs them: processes, with what they print and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYWORKER = (sys.executable, "-m", "pyworker.cli")


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


class Command:
    """A running command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().rstrip("\n")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def ended(self, stdin: str | None = None) -> Ended:
        """Wait for its end."""
        out, err = await self._process.communicate(None if stdin is None else stdin.encode())
        assert self._process.returncode is not None
        return Ended(self._process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def running(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Command]:
    """A command while it runs; killed when it still does at the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
        cwd=ROOT,
    )
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(*command: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Ended:
    """Run a command to its end."""
    async with running(*command, env=env) as started:
        return await started.ended(stdin)


async def pyworker(*args: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Ended:
    """Run ``pyworker`` to its end."""
    return await run(*PYWORKER, *args, env=env, stdin=stdin)


@asynccontextmanager
async def engine_process(*args: str, env: Mapping[str, str] | None = None) -> AsyncIterator[tuple[Command, Any]]:
    """``pyworker engine`` on a free port, and the JSON that it said."""
    async with running(*PYWORKER, "engine", "--port", "0", "--json", *args, env=env) as command:
        yield command, json.loads(await command.line())
