"""The demo's engine, a process: started, watched, and ended with all the workers that it has started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pyworker.engine.providers.local import LocalProvider
from pyworker.settings import VARIABLES

__all__ = ["EngineProcess", "PartFailed"]

START_S: Final = 60.0
TO_END_S: Final = 30.0

_T = TypeVar("_T")


class PartFailed(Exception):
    """A part of the demo did not come up, or ended; the message says which and why, ``logs`` may say more."""

    def __init__(self, why: str, logs: Sequence[Path]) -> None:
        super().__init__(why)
        self.logs = logs


class EngineProcess:
    """``pyworker up`` in a session of its own, so that Ctrl-C reaches only the demo, which then ends it."""

    def __init__(self, deployment: Path, folder: Path, api_key: str) -> None:
        self.log = folder / "engine.log"
        self._workers = folder / "workers"
        self._args = ["up", str(deployment), "--port", "0", "--data-dir", str(folder), "--json"]
        self._api_key = api_key
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Its address, once it listens. Raises PartFailed."""
        unset = {variable.name: "" for variable in VARIABLES}  # what this shell may have set is not for the demo
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pyworker.cli", *self._args),
                env={**os.environ, **unset, "PYWORKER_API_KEY": self._api_key},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        except TimeoutError:
            raise PartFailed(f"the engine did not come up within {START_S:g} s", [self.log]) from None
        if not line:
            await self._ends()
        return str(json.loads(line)["url"])

    async def meanwhile(self, doing: Awaitable[_T]) -> _T:
        """Its result, unless the engine ends first. Raises PartFailed."""
        task, end = asyncio.ensure_future(doing), asyncio.ensure_future(self._ends())
        try:
            await asyncio.wait([task, end], return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                await end
            return await task
        finally:
            task.cancel()
            end.cancel()
            await asyncio.gather(task, end, return_exceptions=True)

    async def _ends(self) -> None:
        """Wait for its end, which is a failure: nobody asked for it. Raises PartFailed."""
        assert self._process is not None
        status = await self._process.wait()
        raise PartFailed(f"the engine ended with status {status}", [self.log])

    async def stop(self) -> None:
        """End it, politely first, and the workers that an engine has left that was killed."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), TO_END_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await LocalProvider(self._workers).close()

    def worker_logs(self, worker_id: int) -> list[Path]:
        """The logs of a worker and of its model server, those that hold anything."""
        folder = self._workers / str(worker_id) / "logs"
        paths = [folder / name for name in ("model.log", "model.out", "worker.log", "supervisor.log")]
        return [path for path in paths if path.exists() and path.stat().st_size]
