"""A worker's whole answer, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pyworker.errors import AnsweredWithError

__all__ = ["Result", "Timings"]


@dataclass(frozen=True, slots=True)
class Timings:
    """From the call on, in s: until a worker was found, until its answer began, until that was complete."""

    waited_s: float
    first_byte_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """A worker's answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    worker_url: str
    request_idx: int
    timings: Timings

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)

    def require_ok(self) -> Self:
        """This result. Raises AnsweredWithError, with the worker's words, unless the status is 2xx."""
        if not self.ok:
            raise AnsweredWithError(f"the worker at {self.worker_url} answers {self.status}: {self.text[:500]}")
        return self
