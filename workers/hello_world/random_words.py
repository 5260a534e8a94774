"""English words at random, from a list that comes with the package ``wonderwords``: nothing is downloaded."""

from __future__ import annotations

import functools
import random

from wonderwords import RandomWord

__all__ = ["random_words"]


def random_words(count: int) -> list[str]:
    """``count`` words."""
    return random.choices(_all_words(), k=count)  # noqa: S311 - no secrets


@functools.cache
def _all_words() -> list[str]:
    return RandomWord(enhanced_prefixes=False).filter()
