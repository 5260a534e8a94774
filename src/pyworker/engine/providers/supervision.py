"""One instance on this machine, by its folder: starting and ending its supervisor, and saying how it is.

Nothing is kept in memory: an instance that an engine before this one started is known and treated like any other.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyworker.engine.providers.base import InstanceState
from pyworker.errors import ProviderError
from pyworker.instance import control
from pyworker.instance.control import Spawned
from pyworker.instance.folder import Folder
from pyworker.instance.logs import last_lines
from pyworker.instance.order import FAILED, STOPPED, Ended, Order
from pyworker.instance.supervisor import STARTED
from pyworker.instance.surroundings import redacted, secrets_in
from pyworker.instance.wakeup import DRAIN_MARGIN_S, GRACE_S

__all__ = ["END_MARGIN_S", "Supervision", "disk_trouble", "explained"]

_STARTED_S: Final = 30.0  # for a supervisor to start its processes; a machine may be very busy
_AT_ONCE_S: Final = 5.0
END_MARGIN_S: Final = DRAIN_MARGIN_S + GRACE_S + 5.0  # above its drain, for all else that an end takes
_LOOK_AGAIN_S: Final = 0.05  # where the system cannot tell us of the end of a process that is not our child

_STATES: Final = {STOPPED: InstanceState.STOPPED, FAILED: InstanceState.FAILED}


class Supervision:
    """The instance in the folder ``path``. Calls come one after the other; ``look`` at any time."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)

    # --- what blocks: to be called in a thread ---

    def look(self) -> tuple[InstanceState, str] | None:
        """Its state and the reason; None when it ended without a word: see ``bury``."""
        if self.folder.supervisor_pid() is not None:
            return InstanceState.RUNNING, ""
        ended = self.folder.read_ended()
        if ended is not None:
            return _STATES.get(ended.state, InstanceState.FAILED), ended.reason
        if self.order() is None:
            return InstanceState.FAILED, f"{self.folder.path}/instance.json is missing or damaged: destroy the instance"
        return None

    def order(self) -> Order | None:
        """What it is to start; None when that is not known any more."""
        try:
            return self.folder.read_order()
        except (OSError, ValueError):
            return None

    def bury(self, *, asked: bool = False) -> tuple[InstanceState, str]:
        """End whatever a supervisor that was killed has left, and write down that it did not end well.

        Its state and the reason; where that cannot be written (a full disk), it is buried again when it is looked at.
        """
        control.end_leftovers(self.folder)
        said = last_lines(self.folder.supervisor_log, 1, max_chars=300)
        words = f"; it said: {said[0]}" if said else ""
        reason = "" if asked else f"its supervisor was killed, or the machine was started anew{words}"
        ended = Ended(STOPPED if asked else FAILED, reason)
        try:
            self.folder.write_ended(ended)
        except OSError as error:
            reason = "; ".join(filter(None, [reason, disk_trouble(error, self.folder.path)]))
        return _STATES[ended.state], reason

    def look_or_bury(self) -> tuple[InstanceState, str]:
        """Its state and the reason, whatever has become of it. Not while it is being started or ended."""
        return self.look() or self.bury()

    def begin(self, order: Order, environment: Mapping[str, str], *, tied: bool = False) -> Spawned:
        """Start its supervisor with this order; ``tied``: it ends when this process does. Raises ProviderError."""
        with explained(self.folder.path):
            self._prepare(order)
            return control.spawn(self.folder, environment, tied=tied)

    def _prepare(self, order: Order) -> None:
        """Write the order, and end whatever an earlier run may have left."""
        self.folder.make()
        self.folder.write_order(order)
        if self.folder.read_ended() is None:
            control.end_leftovers(self.folder)
        self.folder.forget_ended()

    def tail(self, lines: int) -> dict[str, list[str]]:
        """The last lines of each log, without secrets."""
        order = self.order()
        secrets = secrets_in(order.environment) if order else []
        folder = self.folder
        paths = (folder.model_log, folder.model_output, folder.worker_log, folder.supervisor_log)
        found = {path.name: [redacted(line, secrets) for line in last_lines(path, lines)] for path in paths}
        return {name: shown for name, shown in found.items() if shown}

    # --- what waits ---

    async def until_started(self, spawned: Spawned) -> None:
        """Until its processes are started. Raises ProviderError that says why they cannot be."""
        if not await _says_started(spawned.started_fd):
            raise ProviderError(await self._why_not())

    async def _why_not(self) -> str:
        await self._until_ended(_AT_ONCE_S)
        _, reason = await asyncio.to_thread(self.look_or_bury)
        return f"it could not be started: {reason or 'its supervisor does not answer'}"

    async def stop(self) -> None:
        """Let it drain and end; kill it when that takes longer than it may."""
        order = await asyncio.to_thread(self.order)
        drain_s = order.drain_s if order else 0.0
        await self._end(signal.SIGTERM, drain_s + END_MARGIN_S)

    async def kill(self) -> None:
        """End it at once."""
        await self._end(signal.SIGQUIT, _AT_ONCE_S)

    async def remove(self) -> None:
        """End it at once and remove its folder. Raises ProviderError."""
        await self.kill()
        try:
            await asyncio.to_thread(shutil.rmtree, self.folder.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ProviderError(f"{self.folder.path} cannot be removed: {error}; remove it by hand") from None

    async def _end(self, number: signal.Signals, wait_s: float) -> None:
        if await asyncio.to_thread(self.folder.supervisor_pid) is None:
            return
        await asyncio.to_thread(control.send, self.folder, number)
        if not await self._until_ended(wait_s):
            await asyncio.to_thread(control.send, self.folder, signal.SIGKILL)
            await self._until_ended(_AT_ONCE_S)
        if await asyncio.to_thread(self.look) is None:
            await asyncio.to_thread(self.bury, asked=True)

    async def _until_ended(self, wait_s: float) -> bool:
        try:
            async with asyncio.timeout(wait_s):
                while (pid := await asyncio.to_thread(self.folder.supervisor_pid)) is not None:
                    await _until_gone(pid)
        except TimeoutError:
            return False
        await asyncio.to_thread(control.reap_soon, self.folder)
        return True


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Errors of the disk become ProviderErrors that say what to do."""
    try:
        yield
    except OSError as error:
        raise ProviderError(disk_trouble(error, path)) from None


def disk_trouble(error: OSError, path: Path) -> str:
    """What to do about an error of the disk, in words."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk that holds {path} is full: free some space, or put the data folder elsewhere"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return f"{path} cannot be read, since too many files are open: raise the limit (ulimit -n)"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}:
        return f"{path} cannot be written ({error.strerror}): put the data folder where this user may write"
    return f"{path}: {error}"


async def _says_started(fd: int) -> bool:
    """Whether it says so before it closes its end, or keeps silent for too long."""
    try:
        async with asyncio.timeout(_STARTED_S):
            await _readable(fd)
        return await asyncio.to_thread(os.read, fd, len(STARTED)) == STARTED
    except TimeoutError:
        return False
    finally:
        os.close(fd)


async def _until_gone(pid: int) -> None:
    """Until this process has ended, or it is time to look again."""
    try:
        fd = os.pidfd_open(pid) if pid else None
    except (OSError, AttributeError):
        fd = None
    if fd is None:
        await asyncio.sleep(_LOOK_AGAIN_S)
        return
    try:
        await _readable(fd)
    finally:
        os.close(fd)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(fd, lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(fd)
