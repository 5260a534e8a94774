"""Numbers that never repeat and never go back, whatever happens to the engine. Pure.

They come in blocks which the store has set aside: what is left of a block when the engine dies is never used.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Numbers"]


class Numbers:
    """Numbers from the blocks that were given, in order."""

    def __init__(self) -> None:
        self._blocks: deque[range] = deque()

    @property
    def left(self) -> int:
        """How many can be taken before another block is needed."""
        return sum(len(block) for block in self._blocks)

    def give(self, first: int, count: int) -> None:
        """Another block: ``count`` numbers from ``first``, which is above all that were given before."""
        self._blocks.append(range(first, first + count))

    def take(self) -> int:
        """The next one. Raises IndexError when none is left."""
        block = self._blocks[0]
        if len(block) > 1:
            self._blocks[0] = block[1:]
        else:
            self._blocks.popleft()
        return block[0]
