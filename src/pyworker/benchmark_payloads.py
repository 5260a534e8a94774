"""A list of payloads as the benchmark asks for them: one after the other, round and round."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyworker.wire import dump

__all__ = ["Dataset"]


@dataclass
class Dataset:
    """Called for the next payload. ``digest`` names the payloads: others make another benchmark of it."""

    payloads: Sequence[dict[str, Any]] = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256(dump(list(self.payloads))).hexdigest()
        self._turns = itertools.cycle(self.payloads)

    def __call__(self) -> dict[str, Any]:
        return next(self._turns)
