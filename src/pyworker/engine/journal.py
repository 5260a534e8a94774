"""What happened at an endpoint, in words: the log that ``/get_endpoint_logs/`` shows."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyworker.engine.changes import Changes, whole
from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.store.rows import LEVELS, Level, LogLine
from pyworker.engine.store.store import Store
from pyworker.engine.store.thread import StoreThread
from pyworker.errors import StoreError
from pyworker.logs import visible

__all__ = ["Journal"]

log = logging.getLogger("pyworker.engine")

WRITE_EVERY_S: Final = 1.0
MOST_UNWRITTEN: Final = 10_000


class Journal:
    """Lines go to the engine's log at once, to ``publish``, and to the store in batches.

    ``info0`` is what was done, ``info1`` what was decided, ``trace`` and ``debug`` the numbers behind it.
    """

    def __init__(
        self,
        store: Store,
        thread: StoreThread,
        changes: Changes,
        publish: Callable[[str, Any], None],
        epoch_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._thread = thread
        self.changes = changes
        self._publish = publish
        self._epoch_s = epoch_s
        self._unwritten: deque[LogLine] = deque(maxlen=MOST_UNWRITTEN)
        self._writing = asyncio.Lock()

    def note(
        self,
        endpoint: Endpoint,
        text: str,
        *,
        level: Level = "info0",
        group: Group | None = None,
        told: Mapping[str, object] | None = None,
    ) -> None:
        """Write a line; ``told`` are fields that stand beside it in the engine's own log.

        The words of others are in it, so what could forge a line, or move a terminal's cursor, is escaped.
        """
        text = visible(text)
        line = LogLine(
            endpoint_id=endpoint.id,
            epoch_s=self._epoch_s(),
            level=level,
            text=text,
            workergroup_id=group.id if group else None,
        )
        self._unwritten.append(line)
        log.log(logging.INFO if level == "info0" else logging.DEBUG, "%s: %s", endpoint.name, text, extra=told)
        self._publish("log", {"endpoint": endpoint.name, "level": level, "at": line.epoch_s, "text": text})

    async def tail(self, endpoint: Endpoint, lines: int, group: Group | None = None) -> dict[str, str]:
        """The last lines of each level, oldest first, a line of text each. Raises StoreError."""
        await self.write()
        return {level: "\n".join(await self._tail(endpoint, level, lines, group)) for level in LEVELS}

    async def _tail(self, endpoint: Endpoint, level: Level, lines: int, group: Group | None) -> list[str]:
        stored = await self._thread.run(self._store.log_lines, endpoint.id, level)
        ours = [line for line in stored if group is None or line.workergroup_id == group.id]
        return [_as_text(line) for line in ours[-max(lines, 0) :]] if lines else []

    @whole
    async def write(self) -> None:
        """Store what has come since the last time. What cannot be stored is tried again later. Raises StoreError."""
        async with self._writing:  # one at a time, or lines would be stored twice and others dropped
            lines = list(self._unwritten)
            if lines:
                await self._thread.run(self._store.add_log_lines, lines)
                written = set(map(id, lines))
                while self._unwritten and id(self._unwritten[0]) in written:
                    self._unwritten.popleft()

    async def keep_writing(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except StoreError as error:
                log.error("the endpoints' log cannot be stored: %s", error)
            except Exception:
                log.exception("the endpoints' log cannot be stored")


def _as_text(line: LogLine) -> str:
    at = datetime.datetime.fromtimestamp(line.epoch_s, datetime.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z {line.text}"
