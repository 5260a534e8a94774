"""A part of the demo: a process with a log file, which must say something before the demo goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["Part", "PartFailed"]

LOOK_AGAIN_S: Final = 0.05
TO_END_S: Final = 15.0


class PartFailed(Exception):
    """A part of the demo did not come up, or ended; the message says which and why."""

    def __init__(self, part: Part, why: str) -> None:
        super().__init__(f"the {part.name} {why}")
        self.part = part


class Part:
    """A Python process in a session of its own, so that Ctrl-C reaches only the demo, which then ends it."""

    def __init__(self, name: str, args: Sequence[str], folder: Path) -> None:
        self.name = name
        self.log_path = folder / f"{name.replace(' ', '-')}.log"
        self._args = [sys.executable, "-m", *args]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, env: Mapping[str, str] | None = None) -> None:
        """Run it, with ``env`` over this process's environment; what it prints goes to its log."""
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._args,
                env={**os.environ, **(env or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def says(self, pattern: str, *, within_s: float) -> str:
        """Wait for output that matches; its first group. Raises PartFailed when it ends first or takes too long."""
        try:
            async with asyncio.timeout(within_s):
                while (match := re.search(pattern, self._output())) is None:
                    self._require_running()
                    await asyncio.sleep(LOOK_AGAIN_S)
                return match[1]
        except TimeoutError:
            raise PartFailed(self, f"did not come up within {within_s:g} s") from None

    async def ends(self) -> None:
        """Wait for its end, which is a failure: nobody asked for it. Raises PartFailed."""
        if self._process is not None:
            await self._process.wait()
            self._require_running()

    def _require_running(self) -> None:
        if self._process is not None and self._process.returncode is not None:
            raise PartFailed(self, f"ended with status {self._process.returncode}")

    async def stop(self) -> None:
        """End it, and whatever it started: politely first, then not."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            await asyncio.wait_for(process.wait(), TO_END_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of its log."""
        return self._output().splitlines()[-count:]

    def _output(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
