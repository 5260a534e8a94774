"""Reports that were refused: a warning a minute for each source, for a worker would be refused every second."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Final

__all__ = ["Refusals"]

log = logging.getLogger("pyworker.engine")

WARN_EVERY_S: Final = 60.0
MOST_SOURCES: Final = 1000


class Refusals:
    """``source`` is the address that a report came from, ``now_s`` the engine's monotonic clock."""

    def __init__(self) -> None:
        self._warned_s: OrderedDict[str, float] = OrderedDict()

    def refused(self, source: str, worker_id: int, reason: str, now_s: float) -> None:
        """Warn, unless that was done for this source within the last minute."""
        warned_s = self._warned_s.get(source)
        if warned_s is not None and now_s - warned_s < WARN_EVERY_S:
            return
        self._warned_s[source] = now_s
        self._warned_s.move_to_end(source)
        if len(self._warned_s) > MOST_SOURCES:
            self._warned_s.popitem(last=False)
        log.warning("a worker's report is refused", extra={"source": source, "worker_id": worker_id, "reason": reason})
