"""Numbers that were reserved ahead: given from memory, never given again. Pure."""

from __future__ import annotations

__all__ = ["Reserved"]


class Reserved:
    """The numbers of a block, and of those reserved after it, which go on where the last one ends.

    More are to be reserved as soon as they are low: half of a block is left, so that nobody waits for the store.
    """

    def __init__(self, block: range) -> None:
        self.first = block.start
        self._end = block.stop
        self._low = len(block) // 2

    def covers(self, number: int) -> bool:
        """Whether this number, of those from ``first`` on, may be given."""
        return number < self._end

    def is_low(self, number: int) -> bool:
        """Whether more are to be reserved, when this is the next one to be given."""
        return self._end - number <= self._low

    def extend(self, block: range) -> None:
        """Take in another block. Raises ValueError when it does not go on where the last one ended."""
        if block.start != self._end:
            raise ValueError(f"the block begins with {block.start}, not with {self._end}")
        self._end = block.stop
