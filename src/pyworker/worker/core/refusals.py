"""Refusals that are alike: the first is told at once, the rest of each second as a number. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["VARIOUS", "Refusals"]

MOST_KINDS: Final = 50
VARIOUS: Final = "various reasons"


class Refusals:
    """Counts refusals by their kind, no more than MOST_KINDS at a time; those beyond are of one kind, VARIOUS."""

    def __init__(self) -> None:
        self._untold: dict[str, int] = {}  # of the kinds that were told within the last second

    def add(self, kind: str) -> tuple[str, bool]:
        """One more. Returns the kind it is counted as, and whether to tell it at once, and its rest a second on."""
        if kind not in self._untold and len(self._untold) >= MOST_KINDS:
            kind = VARIOUS
        is_first = kind not in self._untold
        self._untold[kind] = 0 if is_first else self._untold[kind] + 1
        return kind, is_first

    def rest(self, kind: str) -> int:
        """How many came since this kind was told last; when none did, the next is a first one again."""
        untold = self._untold.pop(kind, 0)
        if untold:
            self._untold[kind] = 0
        return untold
