"""A worker in a process of its own: for signals, crashes and whatever else a process does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from pyworker.testing.engine import FakeEngine
from pyworker.testing.seen import Seen
from pyworker.testing.server import free_port

__all__ = ["WorkerProcess"]

_LOOK_AGAIN_S: Final = 0.02
_START_S: Final = 40.0
_END_S: Final = 15.0
_MAX_LINE_BYTES: Final = 1024 * 1024


class WorkerProcess:
    """Runs a worker, to be used with ``async with``; whatever it started is gone afterwards.

    ``command`` is run as it is, or with this Python when it begins with ``-m`` or a ``.py`` file::

        async with FakeEngine() as engine, WorkerProcess(["-m", "workers.hello_world.server"], engine=engine) as worker:
            await worker.ready()
            ...
            worker.terminate()
            assert await worker.ended() == 0

    It gets this process's environment, a free port, and a place with ``engine``, or without one no signatures
    to check; ``env`` is put over all that. ``output`` holds the lines it wrote, to stdout and stderr alike.

    When the block is left while it runs, it is asked to end, and killed after ``end_s`` seconds.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        engine: FakeEngine | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        end_s: float = _END_S,
    ) -> None:
        own = command[0] == "-m" or command[0].endswith(".py")
        self.command = [sys.executable, *command] if own else list(command)
        self.port = int((env or {}).get("WORKER_PORT") or free_port())
        self.env = {**_place(self.port, engine), **(env or {})}
        self.output: Seen[str] = Seen()
        self._cwd = cwd
        self._end_s = end_s
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        scheme = "https" if self.env.get("USE_SSL") == "true" else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def status(self) -> int | None:
        """Its exit status, below 0 for a signal; None while it runs."""
        return self._running().returncode

    async def answers(
        self, path: str = "/pyworker/health", *, status: int | None = None, wait_s: float = _START_S
    ) -> int:
        """Wait until GET ``path`` is answered, with ``status`` if given; the status that came.

        Raises RuntimeError with its output when the process ends first, TimeoutError after ``wait_s``.
        """
        answered = None
        try:
            async with asyncio.timeout(wait_s), aiohttp.ClientSession() as session:
                while answered is None or status not in {None, answered}:
                    self._require_running()
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    answered = await self._ask(session, path)
        except TimeoutError:
            what = f"{self.url}{path} answered {answered} until {wait_s:g} s were over"
            raise TimeoutError(f"{what}; its output:\n{self._tail()}") from None
        return answered

    async def ready(self, *, wait_s: float = _START_S) -> None:
        """Wait until it is ready for requests."""
        await self.answers(status=200, wait_s=wait_s)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._running().terminate()

    def kill(self) -> None:
        """Kill it, as a crash would (SIGKILL)."""
        self._running().kill()

    async def ended(self, *, wait_s: float = _END_S) -> int:
        """Wait for its end, kill what it left, read the rest of its output: the exit status, below 0 for a signal.

        Raises TimeoutError when it runs on for ``wait_s``.
        """
        async with asyncio.timeout(wait_s):
            status = await self._running().wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # it was made the leader of a group
        if self._reader is not None:
            await asyncio.wait([self._reader], timeout=wait_s)
        return status

    async def __aenter__(self) -> Self:
        # a pipe of our own: asyncio's would have wait() wait for everybody who holds the other end
        read_fd, write_fd = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdout=write_fd,
                stderr=write_fd,
                env={**os.environ, **self.env},
                cwd=self._cwd,
                start_new_session=True,
            )
        finally:
            os.close(write_fd)
            self._reader = asyncio.create_task(self._read_output(read_fd))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            self.terminate()
        try:
            await self.ended(wait_s=self._end_s)
        except TimeoutError:
            self.kill()
            await self.ended()

    async def _read_output(self, read_fd: int) -> None:
        lines = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(read_fd, "rb")
        )
        try:
            async for line in lines:
                self.output.append(line.decode(errors="replace").rstrip("\r\n"))
        finally:
            transport.close()

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> int | None:
        try:
            async with session.get(self.url + path, ssl=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("use it with `async with`")
        return self._process

    def _require_running(self) -> None:
        if self.status is not None:
            raise RuntimeError(f"it ended with status {self.status}; its output:\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.output[-50:])


def _place(port: int, engine: FakeEngine | None) -> dict[str, str]:
    """The environment that says where a worker is and whom it belongs to."""
    place = {
        "PYTHONUNBUFFERED": "1",
        "WORKER_HOST": "127.0.0.1",
        "WORKER_PORT": str(port),
        f"VAST_TCP_PORT_{port}": str(port),
        "PUBLIC_IPADDR": "127.0.0.1",
        "CONTAINER_ID": "1",
        "USE_SSL": "false",
    }
    if engine is None:
        return place | {"UNSECURED": "true"}
    return place | {"REPORT_ADDR": engine.url, "MASTER_TOKEN": engine.mtoken or "test-mtoken"}
