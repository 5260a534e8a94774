"""What is logged while an engine cannot be told: the beginning, other failures, a reminder, the end. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["REMIND_S", "Trouble"]

REMIND_S: Final = 60.0
STALE_S: Final = 30.0  # a call that failed is tried again sooner than that, if it is tried again at all


class Trouble:
    """One for all calls of an engine, named by ``path``. ``error`` is what fails, "" when nothing does."""

    def __init__(self) -> None:
        self.error = ""
        self._failed_s: dict[str, float] = {}
        self._kinds_told: set[str] = set()
        self._began_s = self._told_s = 0.0

    def failed(self, path: str, kind: str, error: str, now_s: float) -> str:
        """A call has failed. Returns what to log, "" for nothing: each ``kind`` once, and one reminder a minute."""
        if not self.error:
            self._began_s = self._told_s = now_s
        self.error = error
        self._failed_s[path] = now_s
        if kind in self._kinds_told and now_s - self._told_s < REMIND_S:
            return ""
        is_known = kind in self._kinds_told
        self._kinds_told.add(kind)
        self._told_s = now_s
        lasts = f", for {int((now_s - self._began_s) // 60)} min" if is_known else ""
        return f"the engine cannot be told{lasts}: {error}"

    def succeeded(self, path: str, now_s: float) -> str:
        """A call was answered. Returns what to log, "" for nothing: all is well when no other call still fails."""
        self._failed_s.pop(path, None)
        if not self.error or any(now_s - failed_s < STALE_S for failed_s in self._failed_s.values()):
            return ""
        self.error = ""
        self._failed_s.clear()
        self._kinds_told.clear()
        return "the engine answers again"
